"""Fine-tune a whole encoder on several tasks."""
