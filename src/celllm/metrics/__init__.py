"""Numbers from predictions; no model in sight."""
