"""Files on disk: one module a format, with read, write and check."""
