"""Embeddings of one's own cells."""
