"""Cells as published, one format a file; registry.py says which reader a dataset needs."""
