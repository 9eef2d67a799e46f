"""Errors, provenance, atomic writes, intervals: no biology, no torch."""
