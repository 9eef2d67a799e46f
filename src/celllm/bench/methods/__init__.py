"""Methods of the benchmark."""
