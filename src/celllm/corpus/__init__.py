"""Cells without the tested ones, as shards."""
