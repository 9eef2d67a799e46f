"""Draw memory and time of a step against the cells in it: `python -m celllm.report.commands.plot_step_cost`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base import provenance
from celllm.base.entry import add_figure, run
from celllm.pretrain import step_cost
from celllm.report import figures
from celllm.report.step_cost import draw_step_cost


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm plot_step_cost", description=__doc__)
    made.add_argument("--cost", type=Path, required=True, help="results/step_cost/{recipe}.tsv")
    made.add_argument("--limit-gb", type=float, required=True, help="memory that was offered, 10^9 bytes")
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read what was measured, draw, write."""
    args = parser().parse_args(argv)
    what = f"encoder of recipe {args.cost.stem}, on the CPU"
    figure = draw_step_cost(step_cost.read(args.cost), limit_gb=args.limit_gb, what=what)
    made = provenance.stamp(args.stage, {"cost": args.cost})
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=made)


if __name__ == "__main__":
    run(main)
