"""Make the gene axis from the HGNC table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.harmonise import vocabulary
from celllm.sources import hgnc, raw


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm build_vocabulary", description=__doc__, allow_abbrev=False)
    options.add_argument("--hgnc", required=True, type=Path, help="manifest of the gene table")
    options.add_argument("--locus-group", default="protein-coding gene", help="HGNC's name of the genes to take")
    options.add_argument("--stage", default="build_vocabulary", help="name and version of the stage")
    options.add_argument("--out", required=True, type=Path, help="where to write genes.tsv")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Read the gene table, take one locus group, write the axis."""
    args = parser().parse_args(argv)
    file = raw.read(args.hgnc).only()
    try:
        genes = vocabulary.of_locus_group(hgnc.read(file.path), args.locus_group)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            file=file.path,
            field="locus_group",
            expected=f"genes of locus group {args.locus_group!r}",
            found=str(error),
            remedy="correct locus_group in the config",
        ) from None
    vocabulary.write(genes, args.out)
    print(f"{genes.n_genes} genes, vocabulary {genes.digest[:12]}")


if __name__ == "__main__":
    run(main)
