"""Write, in place of predictions, that a cell of the benchmark failed, so that the others can go on; or stop there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base.entry import run
from celllm.bench import predictions
from celllm.bench.predictions import Failure


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm record_failure", description=__doc__, allow_abbrev=False)
    options.add_argument("--task", required=True, help="a row of the table of tasks")
    options.add_argument("--method", required=True, help="a row of the table of methods")
    options.add_argument("--split", required=True, type=int, help="seed of the draw of the parts")
    options.add_argument("--seed", required=True, type=int, help="of the method's own random numbers")
    options.add_argument("--status", required=True, type=int, help="exit status of its command")
    options.add_argument(
        "--on-failure", choices=("show", "stop"), default="show", help="write the failure, or leave with the status"
    )
    options.add_argument("--log", required=True, type=Path, help="its log")
    options.add_argument("--predictions", required=True, type=Path, help="where its predictions would be")
    return options


def message_in(log: str) -> str:
    """Return our own error message, where the log ends with one, in one line; else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    start = next((place for place, line in enumerate(lines) if line.startswith("error: ")), len(lines) - 1)
    return " ".join(lines[start:]).removeprefix("error: ") or "its log is empty"


def main(argv: Sequence[str] | None = None) -> None:
    """Take the message out of the log, write the failure."""
    args = parser().parse_args(argv)
    if args.on_failure == "stop":
        raise SystemExit(args.status)
    failure = Failure(
        task=args.task,
        method=args.method,
        split=args.split,
        seed=args.seed,
        status=args.status,
        message=message_in(args.log.read_text(errors="replace")),
        log=str(args.log),
    )
    predictions.write_failure(failure, args.predictions)


if __name__ == "__main__":
    run(main)
