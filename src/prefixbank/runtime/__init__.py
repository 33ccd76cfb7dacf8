"""Plan, run, resume and share out the units of a command."""
