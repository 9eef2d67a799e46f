"""One module a rule, of the same name."""
