"""The benchmark tasks and the encoder's fine-tuning for them."""
