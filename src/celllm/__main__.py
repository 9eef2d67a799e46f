"""`celllm <command> …`: every room's commands in one app."""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from pathlib import Path

from celllm import __version__
from celllm.base.app import commands, run

ROOMS = ("sources", "harmonise", "splits", "corpus", "model", "genes", "pretrain", "bench", "annotate", "report")

app = commands(name="celllm", version=__version__, help="Single-cell encoders: pretrain, embed, annotate, benchmark.")
for room in ROOMS:
    room_app = getattr(import_module(f"celllm.{room}.commands"), "app", None)
    if room_app is not None:
        app.update(room_app)


def main() -> None:
    """Run the command that the first argument names."""
    # a room whose commands are one module each: until it is turned into commands.py
    name = {"import": "import_encoder"}.get(*(sys.argv[1:2] * 2)) if sys.argv[1:] else None
    for path in Path(__file__).parent.glob(f"*/commands/{name}.py"):
        del sys.argv[1]
        runpy.run_module(f"celllm.{path.parts[-3]}.commands.{name}", run_name="__main__", alter_sys=True)
        return
    run(app)


if __name__ == "__main__":
    main()
