"""The command line: how a room declares its commands, and how errors a user can fix are shown.

A command is a function with keyword-only, typed parameters; its docstring is its help.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from celllm.base.errors import CellLMError

# Options that many commands have, with their help.
Stage = Annotated[str, Parameter(help="Name and version of the workflow's stage, for the file's provenance.")]
Accelerator = Annotated[Literal["auto", "cpu", "cuda"], Parameter(help="Kind of device; auto: a GPU if there is one.")]
Threads = Annotated[int, Parameter(help="Threads of torch on a CPU.")]
VocabularyFile = Annotated[Path, Parameter(help="The vocabulary, genes.tsv.")]


def commands(**options: Any) -> App:  # noqa: ANN401 - cyclopts's own options
    """Return an app whose commands keep their function's name, so that one search finds rule, command and log."""
    return App(
        name_transform=str,
        default_parameter=Parameter(consume_multiple=True, negative=""),
        help_format="markdown",
        result_action="return_value",
        **options,
    )


def show_examples(app: App) -> None:
    """End each command's help with the example at the end of its docstring, which stands after `Example::`."""
    for command in app.subapps:
        text = inspect.getdoc(command.default_command) or ""
        _, found, example = text.partition("Example::")
        if found:
            command.help_epilogue = f"Example:\n\n```\n{inspect.cleandoc(example)}\n```"


def run(app: Callable[..., Any], argv: Sequence[str] | None = None) -> None:
    """Run a command line; a `CellLMError`, or a path that is not there, is printed and ends the process.

    `--traceback`, anywhere, shows where the error was raised.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    is_traced = "--traceback" in tokens
    try:
        app([token for token in tokens if token != "--traceback"])
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever reads what is printed, such as head, has seen enough: write nothing more, not at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except CellLMError as error:
        if is_traced:
            raise
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        sys.stderr.write(f"error: {error}{notes}\n")
        raise SystemExit(error.status) from None
    except OSError as error:
        if is_traced or error.filename is None:
            raise
        sys.stderr.write(f"error: {_named_by(tokens, str(error.filename))}\n  {error.strerror}\n")
        raise SystemExit(CellLMError.status) from None


def _named_by(tokens: Sequence[str], path: str) -> str:
    """Return a path with the option that gave it, if one did."""
    options = [option for option, value in pairwise(tokens) if value == path]
    return f"{options[0]} {path}" if options and options[0].startswith("-") else path
