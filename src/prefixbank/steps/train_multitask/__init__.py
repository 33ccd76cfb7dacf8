"""Fine-tune the whole encoder on several tasks."""
