"""What every command shares: mistakes a user can mend end in a message, not in a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from celllm.errors import CellLMError


def run(main: Callable[[], None]) -> None:
    """Run a command's `main`; a `CellLMError` is printed to stderr and ends the process with status 2."""
    try:
        main()
    except CellLMError as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        sys.stderr.write(f"error: {error}{notes}\n")
        raise SystemExit(2) from None
