"""The benchmark: methods, tuning, predictions, metrics, scores."""
