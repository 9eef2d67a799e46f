"""Other methods behind the same two calls, fit and predict."""
