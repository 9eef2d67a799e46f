"""The training loop and its needs."""
