"""`celllm <command> …`: every room's commands in one app."""

from __future__ import annotations

from importlib import import_module

from celllm import __version__
from celllm.base.app import commands, run, show_examples

ROOMS = ("sources", "harmonise", "splits", "corpus", "model", "genes", "pretrain", "bench", "annotate", "report")

app = commands(name="celllm", version=__version__, help="Single-cell encoders: pretrain, embed, annotate, benchmark.")
for room in ROOMS:
    app.update(import_module(f"celllm.{room}.commands").app)
show_examples(app)


def main() -> None:
    """Run the command that the first argument names."""
    run(app)


if __name__ == "__main__":
    main()
