"""Symbols in, vocabulary indices out."""
