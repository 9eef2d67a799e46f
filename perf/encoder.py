"""How fast cells go forwards and backwards through the encoder: `python perf/encoder.py --json --released DIR`.

The paper's size, dropout 0, gene embedding frozen, all else trained, float32. What is differentiated is the embedding
of CLS, of one cell at a time. Ours and a peer run in turn in one process, on the same tokens; a ratio is the median of
the ratios of turns.

Peers: the encoder that CellLM's authors released, in a checkout of the repository PharMolix/OpenBioMed (`--released`),
which pads each cell to 6,000 tokens; performer-pytorch 1.1.4; scBERT's architecture at its own size, every one of its
genes a token, put together from performer-pytorch by its description; our own with exact softmax attention. The
released file wants einops and local-attention, as performer-pytorch does. A full run takes about 8 minutes on two
cores and 16 GB.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from line import line, options, show
from torch import Tensor, nn

from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import CLS
from celllm.model.encoder import Encoder

N_GENES, N_TOKENS, LONGEST, SCBERT_GENES = 19_379, 8, 6_000, 16_906
PAPER = EncoderSettings(width=512, depth=10, heads=16, head_width=64, n_features=266, dropout=0.0)
RELEASED = "open_biomed/models/cell/performer_celllm.py"
TYPICAL = (837, 1_431, 2_573)
"""Tokens: means of the thirds of PanglaoDB's cells, whose mean is 1,616 genes; few cells have the mean."""
EQUAL = (1_500, 1_500)

Cell = tuple[Tensor, Tensor]
Embed = Callable[[Tensor, Tensor], Tensor]


def cell(length: int, seed: int) -> Cell:
    """Draw a cell of so many tokens, CLS first: genes in the vocabulary's order and bins, each 1 x L."""
    generator = np.random.default_rng([seed, length])
    genes = np.concatenate([[N_GENES], np.sort(generator.choice(N_GENES, length - 1, replace=False))])
    bins = np.concatenate([[CLS], generator.integers(1, 6, length - 1)])
    return torch.from_numpy(genes)[None], torch.from_numpy(bins)[None]


def ours(attention: str = "favor") -> Embed:
    """Make our encoder."""
    settings = PAPER.model_copy(update={"attention": attention})
    genes_GD = torch.randn(N_GENES, PAPER.width)
    return Encoder(settings, n_genes=N_GENES, gene_embedding=genes_GD, n_tokens=N_TOKENS).embed


def released(checkout: Path) -> Embed:
    """Make the encoder of CellLM's authors; it pads each cell to 6,000 tokens."""
    spec = importlib.util.spec_from_file_location("released_encoder", checkout / RELEASED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sizes = {"num_tokens": N_TOKENS, "max_seq_len": LONGEST, "dim": PAPER.width, "depth": PAPER.depth}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "genes.npy"
        np.save(path, np.random.default_rng(0).standard_normal((N_GENES, PAPER.width), dtype=np.float32))
        encoder = module.PerformerLM_CellLM(**sizes, heads=PAPER.heads, gene2vec_path=str(path))
    encoder.requires_grad_(requires_grad=True)  # as released all but the last layer is frozen
    encoder.pos_emb.requires_grad_(requires_grad=False)
    encoder.fix_projection_matrices_()

    def embed(genes_BL: Tensor, bins_BL: Tensor) -> Tensor:
        values = torch.zeros(1, N_GENES)  # it takes expression, and rounds it down to bins
        values[0, genes_BL[0, 1:]] = bins_BL[0, 1:] + 0.5
        return encoder(values, return_encodings=True)[0][:, 0]

    return embed


def from_package(n_genes: int, n_tokens: int, **sizes: int) -> Embed:
    """Make an encoder out of performer-pytorch: embeddings, its Performer, a LayerNorm."""
    from performer_pytorch import Performer

    genes = nn.Embedding(n_genes + 1, sizes["dim"]).requires_grad_(requires_grad=False)
    expression = nn.Embedding(n_tokens, sizes["dim"])
    performer = Performer(**sizes, qkv_bias=False, auto_check_redraw=False)
    norm = nn.LayerNorm(sizes["dim"])
    return lambda genes_BL, bins_BL: norm(performer(genes(genes_BL) + expression(bins_BL)))[:, 0]


def performer_pytorch() -> Embed:
    """Make the paper's encoder out of the package that the authors took theirs from."""
    sizes = {"dim": PAPER.width, "depth": PAPER.depth, "heads": PAPER.heads, "dim_head": PAPER.head_width}
    return from_package(N_GENES, N_TOKENS, **sizes)


def scbert() -> Embed:
    """Make scBERT's encoder likewise: any cell is a value for each of its genes, silent ones too, and a last 0."""
    made = from_package(SCBERT_GENES, 7, dim=200, depth=6, heads=10, dim_head=64)
    genes = torch.arange(SCBERT_GENES + 1)[None]

    def embed(_: Tensor, bins_BL: Tensor) -> Tensor:
        bins = torch.zeros_like(genes)
        bins[0, : bins_BL.shape[1] - 1] = bins_BL[0, 1:]
        return made(genes, bins)

    return embed


def seconds(embed: Embed, cells: Sequence[Cell], clock: Callable[[], float]) -> float:
    """Return the mean time of a cell, there and back."""
    started = clock()
    for tokens in cells:
        embed(*tokens).sum().backward()
    return (clock() - started) / len(cells)


def precisions(repeats: int, clock: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """Yield how much faster bfloat16 is than float32, and the share of a float32 pass that is products of matrices."""
    cells = [cell(EQUAL[0], 0)]
    for attention, bar in (("favor", 2.2), ("softmax", None)):
        embed = ours(attention)

        def mixed(*tokens: Tensor, embed: Embed = embed) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return embed(*tokens)

        times = np.array([[seconds(run, cells, clock) for run in (embed, mixed)] for _ in range(repeats + 1)][1:])
        full, half = np.median(times, axis=0)
        told, ratio = f"float32: {1 / full:.4f} cells/s", float(np.median(times[:, 0] / times[:, 1]))
        yield line(f"bf16_{attention}", 1 / half, "cells/s", peer=told, ratio=ratio, at_least=bar)
    embed = ours()
    seconds(embed, cells, clock)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        seconds(embed, cells, clock)
    own = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    products = sum(own.get(f"aten::{name}", 0) for name in ("mm", "bmm", "addmm"))
    yield line("matmul_fraction", products / sum(own.values()), "of a pass", at_least=0.70)


def figures(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a line a peer."""
    clock = time.process_time if args.cpu_time else time.perf_counter
    absent = [name for name in ("performer_pytorch", "einops", "local_attention") if not importlib.util.find_spec(name)]
    missing = f"not installed: {', '.join(absent)}" if absent else None
    no_checkout = None if args.released else "no checkout of PharMolix/OpenBioMed: give --released"
    # name: peer, why it is missing, lengths, cells of them that the peer takes (all of its passes are equal), bar
    contenders: dict[str, tuple[Callable[[], Embed], str | None, tuple[int, ...], int, float | None]] = {
        "vs_released": (lambda: released(args.released), no_checkout or missing, TYPICAL, 1, 9),
        "vs_performer_pytorch": (performer_pytorch, missing, EQUAL, 2, 1.2),
        "vs_scbert": (scbert, missing, TYPICAL, 1, 5),
        "vs_softmax": (lambda: ours("softmax"), None, EQUAL, 2, None),
    }
    for name in args.only or [*contenders, "precision"]:
        if name == "precision":
            yield from precisions(args.repeats, clock)
            continue
        peer, why, lengths, n_peer, bar = contenders[name]
        cells = [cell(length, i) for i, length in enumerate(lengths)]
        runs = [(ours(), cells)] + ([] if why else [(peer(), cells[:n_peer])])
        for embed, of_run in runs:
            if len(of_run) > 1:  # a single cell is a pass so long that it needs no warming
                seconds(embed, of_run[:1], clock)
        times = np.array([[seconds(embed, of_run, clock) for embed, of_run in runs] for _ in range(args.repeats)])
        rates = np.median(1 / times, axis=0)
        if why:
            yield line(name, float(rates[0]), "cells/s", peer=why)
        else:
            ratio, told = float(np.median(times[:, 1] / times[:, 0])), f"{rates[1]:.4f} cells/s"
            yield line(name, float(rates[0]), "cells/s", peer=told, ratio=ratio, at_least=bar)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--released", type=Path, help="a checkout of PharMolix/OpenBioMed")
    parser.add_argument("--repeats", type=int, default=3, help="turns")
    parser.add_argument("--cpu-time", action="store_true", help="one thread's own time, where others use the machine")
    parser.add_argument("--only", nargs="+", help="names of the figures; default: all")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # peers' calls of torch are old
    torch.default_generator.manual_seed(0)
    if args.cpu_time:
        torch.set_num_threads(1)
    show(figures(args), as_json=args.json)


if __name__ == "__main__":
    main()
