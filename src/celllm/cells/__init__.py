"""One cell at a time: quality, normalisation, bins, tokens."""
