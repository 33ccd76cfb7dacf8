"""Export to PEFT: one deep prefix as a prefix-tuning adapter."""
