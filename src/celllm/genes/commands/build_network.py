"""Make the gene network on the vocabulary: from a published edge list, or from co-expression."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from celllm.base.entry import run
from celllm.base.errors import VocabularyMismatch
from celllm.corpus.reader import ShardReader
from celllm.genes import edges, network
from celllm.genes.edges import Edges
from celllm.harmonise import vocabulary
from celllm.harmonise.normalise import log_normalised
from celllm.harmonise.symbols import SymbolIndex, map_names
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources import hgnc, raw


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm build_network", description=__doc__, allow_abbrev=False)
    source = options.add_mutually_exclusive_group(required=True)
    source.add_argument("--edges", type=Path, help="manifest of a published edge list")
    source.add_argument("--coexpression", type=Path, help="manifest of the shards to correlate genes in")
    options.add_argument("--hgnc", required=True, type=Path, help="manifest of the gene table")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument(
        "--min-score",
        type=int,
        default=edges.MIN_SCORE,
        help="least combined score of STRING's links, 0 to 1000; lists without scores are taken whole",
    )
    options.add_argument("--partners", type=int, default=10, help="co-expression partners a gene may choose")
    options.add_argument("--stage", default="build_network", help="name and version of the stage")
    options.add_argument("--network", required=True, type=Path, help="where to write the edges")
    return options


def published(manifest: Path, index: SymbolIndex, genes: Vocabulary, *, min_score: int) -> Edges:
    """Map the ends of a published network to the vocabulary; edges that lose an end are dropped."""
    files = raw.read(manifest)
    first, second = edges.read_published(files, min_score=min_score)
    names = sorted({*first, *second})
    index_of = dict(zip(names, map_names(names, index, genes).index_N.tolist(), strict=True))
    a, b = network.from_pairs(
        np.array([index_of[name] for name in first], dtype=np.int64),
        np.array([index_of[name] for name in second], dtype=np.int64),
    )
    return Edges(a_E=a, b_E=b, vocabulary=genes.digest, source=", ".join(file.name for file in files.files))


def coexpressed(manifest: Path, genes: Vocabulary, *, n_partners: int) -> Edges:
    """Correlate genes over the pretraining cells, which hold no test cell."""
    cells = ShardReader(manifest)
    if cells.vocabulary != genes.digest:
        raise VocabularyMismatch(
            file=manifest,
            found=cells.vocabulary,
            expected=genes.digest,
            remedy="rebuild the shards: snakemake --forcerun write_shards",
        )
    values = log_normalised(cells.rows(np.arange(cells.n_cells)))
    a, b = network.coexpression(values, n_partners=n_partners)
    return Edges(a_E=a, b_E=b, vocabulary=genes.digest, source=f"co-expression in {cells.n_cells} cells")


def main(argv: Sequence[str] | None = None) -> None:
    """Read edges or cells, make the network, write it."""
    args = parser().parse_args(argv)
    genes = vocabulary.read(args.vocabulary)
    if args.edges is not None:
        index = SymbolIndex(hgnc.read(raw.read(args.hgnc).only().path))
        made = published(args.edges, index, genes, min_score=args.min_score)
    else:
        made = coexpressed(args.coexpression, genes, n_partners=args.partners)
    edges.write(made, args.network)
    n_connected = len(np.union1d(made.a_E, made.b_E))
    print(f"{len(made.a_E)} edges between {n_connected} of {genes.n_genes} genes")


if __name__ == "__main__":
    run(main)
