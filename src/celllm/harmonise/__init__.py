"""Gene names to the gene axis, cells in results/cells."""
