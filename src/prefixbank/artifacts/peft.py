"""Files of a PEFT adapter."""

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
