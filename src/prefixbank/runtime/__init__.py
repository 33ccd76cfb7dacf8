"""Plan, run, resume and distribute the units of a command."""
