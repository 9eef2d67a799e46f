"""Embed cells with a pretrained encoder, frozen."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from celllm.annotate import embeddings
from celllm.base.entry import run
from celllm.harmonise import cells as counts
from celllm.harmonise import vocabulary
from celllm.model.inference import embed_cells
from celllm.model.store import load_encoder


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm embed_cells", description=__doc__, allow_abbrev=False)
    options.add_argument("--encoder", required=True, type=Path, help="encoder.safetensors")
    options.add_argument("--cells", required=True, type=Path, help="aligned cells")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--stage", default="embed_cells", help="name and version of the stage")
    options.add_argument("--embeddings", required=True, type=Path, help="where to write the embeddings")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Read encoder and cells, embed, write."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    genes = vocabulary.read(args.vocabulary)
    pretrained = load_encoder(args.encoder, vocabulary=genes.digest)
    cells = counts.read(args.cells, vocabulary=genes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    embedded_ND = embed_cells(pretrained, cells.X, units=cells.uns["units"], device=device)
    embeddings.write(list(cells.obs_names), embedded_ND, list(cells.obs["label"]), args.embeddings)


if __name__ == "__main__":
    run(main)
