"""Figures of the report, one module per kind of data; `style` has what they share."""
