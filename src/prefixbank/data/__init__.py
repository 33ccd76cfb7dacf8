"""Tasks, texts and encoders: from files to memory."""
