"""CellLM: an open reproduction of divide-and-conquer contrastive cell representation learning.

For one's own cells: `celllm.embed(adata)`, `celllm.annotate(query, reference, labels=…)`, `celllm.adapt(adata, out)`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
CALLS = {"embed": "celllm.annotate.embed", "annotate": "celllm.annotate.label", "adapt": "celllm.annotate.adapt"}
"""Public calls, and the modules they stand in; torch is imported once one is asked for."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a function
    """Import a public call when it is first asked for."""
    if name not in CALLS:
        msg = f"module 'celllm' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(CALLS[name]), name)


def __dir__() -> list[str]:
    """List the public calls too."""
    return [*globals(), *CALLS]
