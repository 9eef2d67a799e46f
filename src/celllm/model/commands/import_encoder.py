"""Turn a published checkpoint, CellLM's or scBERT's, into an encoder file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from celllm.base.entry import run
from celllm.base.provenance import stamp
from celllm.harmonise import vocabulary
from celllm.harmonise.symbols import identified
from celllm.model.imported import MAX_LENGTH, import_encoder
from celllm.model.published import Layout
from celllm.model.store import save_encoder
from celllm.sources import hgnc, raw


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm import", description=__doc__, allow_abbrev=False)
    options.add_argument("--layout", required=True, choices=get_args(Layout), help="whose checkpoint it is")
    options.add_argument("--checkpoint", required=True, type=Path, help="what the authors' torch.save wrote")
    options.add_argument(
        "--genes", required=True, type=Path, help="genes in the checkpoint's order: one symbol a line, or genes.tsv"
    )
    options.add_argument(
        "--hgnc",
        type=Path,
        help="manifest of the gene table: gives a list its ids, without which no cell is aligned on it",
    )
    options.add_argument(
        "--max-length", type=int, default=MAX_LENGTH, help="layout celllm: longest cell in tokens, CLS included"
    )
    options.add_argument("--stage", default="import", help="name and version of the stage")
    options.add_argument("--out", required=True, type=Path, help="where to write encoder.safetensors")
    options.add_argument("--vocabulary", type=Path, help="where to write the genes as genes.tsv, for other commands")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Read checkpoint and genes, translate, write."""
    args = parser().parse_args(argv)
    genes = vocabulary.read_list(args.genes)
    inputs = {"checkpoint": args.checkpoint, "genes": args.genes}
    if args.hgnc is not None:
        table = raw.read(args.hgnc).only().path
        genes = identified(genes, hgnc.read(table))
        inputs["hgnc"] = table
    found = import_encoder(args.checkpoint, layout=args.layout, n_genes=genes.n_genes, max_length=args.max_length)
    save_encoder(
        args.out,
        found.encoder,
        recipe=found.recipe,
        vocabulary=genes.digest,
        panel=found.panel,
        stamp=stamp(args.stage, inputs, layout=args.layout),
    )
    if args.vocabulary is not None:
        vocabulary.write(genes, args.vocabulary)
    n_parameters = sum(parameter.numel() for parameter in found.encoder.parameters())
    n_in_genes = found.encoder.embedding.genes.weight.numel()
    n_identified = int((genes.genes["hgnc_id"] != "").sum())
    print(
        f"{args.layout}: {n_parameters:,} parameters, {n_in_genes:,} of them the table of {genes.n_genes:,} genes, "
        f"{n_identified:,} with an HGNC id"
    )


if __name__ == "__main__":
    run(main)
