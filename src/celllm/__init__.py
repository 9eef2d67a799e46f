"""CellLM: an open reproduction of divide-and-conquer contrastive cell representation learning."""

__version__ = "0.1.0"
