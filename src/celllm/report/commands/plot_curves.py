"""Draw the curves of pretraining: `python -m celllm.report.commands.plot_curves`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base import provenance
from celllm.base.entry import add_figure, run
from celllm.corpus import format as shards
from celllm.pretrain import history
from celllm.report import figures
from celllm.report.curves import draw_curves


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm plot_curves", description=__doc__)
    made.add_argument(
        "--history", type=Path, required=True, nargs="+", help="results/pretrain/{recipe}/seed{seed}/history.jsonl"
    )
    made.add_argument(
        "--shards", type=Path, required=True, help="results/shards/manifest.json, to say what is simulated"
    )
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read histories, draw, write."""
    args = parser().parse_args(argv)
    names = [f"{path.parent.parent.name}, {path.parent.name.replace('seed', 'seed ')}" for path in args.history]
    histories = {name: history.read(path) for name, path in zip(names, args.history, strict=True)}
    is_simulated = any(facts["simulated"] for facts in shards.read(args.shards).datasets.values())
    figure = draw_curves(histories, is_simulated=is_simulated)
    made = provenance.stamp(args.stage, dict(zip(names, args.history, strict=True)))
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=made)


if __name__ == "__main__":
    run(main)
