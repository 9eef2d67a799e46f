"""Neural network modules; no losses, no workflow."""
