"""Fit principal components to the pretraining corpus, log-normalised, batch by batch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.base.provenance import stamp
from celllm.bench import pca as components
from celllm.bench.methods.components import N_COMPONENTS, fit_components
from celllm.corpus.reader import ShardReader


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm fit_components", description=__doc__, allow_abbrev=False)
    options.add_argument("--shards", required=True, type=Path, help="manifest.json of the corpus")
    options.add_argument("--components", type=int, default=N_COMPONENTS, help=f"how many ({N_COMPONENTS})")
    options.add_argument("--stage", default="fit_components", help="name and version of the stage")
    options.add_argument("--out", required=True, type=Path, help="where to write the components")
    return options


def check_size(reader: ShardReader, n_components: int) -> None:
    """Refuse more components than the corpus has cells or genes."""
    most = min(reader.n_cells, reader.n_genes)
    if not 1 <= n_components <= most:
        raise InputError(
            file=reader.path,
            field="--components",
            expected=f"1 to {most}, since the corpus has {reader.n_cells} cells and {reader.n_genes} genes",
            found=str(n_components),
            remedy=f"give --components {min(most, N_COMPONENTS)}, or a larger corpus",
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the shards, fit, write."""
    args = parser().parse_args(argv)
    reader = ShardReader(args.shards)
    check_size(reader, args.components)
    found = fit_components(
        reader.rows,
        n_cells=reader.n_cells,
        vocabulary=reader.vocabulary,
        n_components=args.components,
    )
    made = stamp(args.stage, {}, shards=reader.digest)
    components.write(replace(found, provenance=made), args.out)
    print(f"{args.components} components of {found.n_cells} cells hold {found.explained_K.sum():.1%} of the variance")


if __name__ == "__main__":
    run(main)
