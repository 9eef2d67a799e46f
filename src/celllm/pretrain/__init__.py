"""Losses, the divide-and-conquer step, the training loop."""
