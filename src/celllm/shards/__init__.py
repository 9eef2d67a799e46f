"""Many cells in random order."""
