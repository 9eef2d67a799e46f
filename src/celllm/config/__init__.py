"""Settings, tables and recipes: the only readers of config/."""
