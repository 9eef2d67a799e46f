"""Encoders that perf/encoder.py runs against each other: ours, its peers, and a matrix product.

A contender is a function of a cell: forwards to its embedding, and the gradient back to all that is trained, which is
everything but the gene table. The paper's size, dropout 0.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from celllm.config.recipe import EncoderSettings
from celllm.corpus.tokens import CLS
from celllm.model.encoder import Encoder

N_GENES, N_TOKENS, LONGEST = 19_379, 8, 6_000
PAPER = EncoderSettings(width=512, depth=10, heads=16, head_width=64, n_features=266, dropout=0.0)
SCBERT_GENES = 16_906
RELEASED = "open_biomed/models/cell/performer_celllm.py"

Cell = tuple[Tensor, Tensor]
Contender = Callable[[Cell], None]


def cell(length: int, seed: int = 0) -> Cell:
    """Draw a cell of so many tokens, CLS first: genes in the vocabulary's order and bins, each 1 x L."""
    generator = np.random.default_rng([seed, length])
    genes = np.concatenate([[N_GENES], np.sort(generator.choice(N_GENES, length - 1, replace=False))])
    bins = np.concatenate([[CLS], generator.integers(1, 6, length - 1)])
    return torch.from_numpy(genes)[None], torch.from_numpy(bins)[None]


def pulled(module: nn.Module, embed: Callable[[Tensor, Tensor], Tensor], *, bf16: bool = False) -> Contender:
    """Make a contender of a module and the call that gives a cell's embedding, whose sum is differentiated."""

    def run(tokens: Cell) -> None:
        module.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            embedding = embed(*tokens)
        embedding.float().sum().backward()

    return run


def ours(attention: str = "favor", *, bf16: bool = False) -> Contender:
    """Make our encoder."""
    settings = PAPER.model_copy(update={"attention": attention})
    made = Encoder(settings, n_genes=N_GENES, gene_embedding=torch.randn(N_GENES, PAPER.width), n_tokens=N_TOKENS)
    return pulled(made, made.embed, bf16=bf16)


class _Released(nn.Module):
    def __init__(self, checkout: Path) -> None:
        super().__init__()
        spec = importlib.util.spec_from_file_location("released_encoder", checkout / RELEASED)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "genes.npy"
            np.save(table, np.random.default_rng(0).standard_normal((N_GENES, PAPER.width), dtype=np.float32))
            self.encoder = module.PerformerLM_CellLM(
                num_tokens=N_TOKENS,
                max_seq_len=LONGEST,
                dim=PAPER.width,
                depth=PAPER.depth,
                heads=PAPER.heads,
                gene2vec_path=str(table),
            )
        self.requires_grad_(requires_grad=True)  # as released all but the last layer is frozen
        self.encoder.pos_emb.requires_grad_(requires_grad=False)
        self.encoder.fix_projection_matrices_()

    def forward(self, genes_BL: Tensor, bins_BL: Tensor) -> Tensor:
        values = torch.zeros(1, N_GENES)  # it takes expression, and rounds it down to bins
        values[0, genes_BL[0, 1:]] = bins_BL[0, 1:] + 0.5
        return self.encoder(values, return_encodings=True)[0][:, 0]


def released(checkout: Path) -> Contender:
    """Make the encoder of CellLM's authors; it pads each cell to 6,000 tokens."""
    made = _Released(checkout)
    return pulled(made, made)


class _FromPackage(nn.Module):
    def __init__(self, n_genes: int, n_tokens: int, **sizes: int) -> None:
        super().__init__()
        from performer_pytorch import Performer

        self.genes = nn.Embedding(n_genes + 1, sizes["dim"]).requires_grad_(requires_grad=False)
        self.expression = nn.Embedding(n_tokens, sizes["dim"])
        self.performer = Performer(**sizes, qkv_bias=False, auto_check_redraw=False)
        self.norm = nn.LayerNorm(sizes["dim"])

    def forward(self, genes_BL: Tensor, bins_BL: Tensor) -> Tensor:
        return self.norm(self.performer(self.genes(genes_BL) + self.expression(bins_BL)))[:, 0]


def performer_pytorch() -> Contender:
    """Make the paper's encoder out of performer-pytorch: embeddings, its Performer, a LayerNorm."""
    sizes = {"dim": PAPER.width, "depth": PAPER.depth, "heads": PAPER.heads, "dim_head": PAPER.head_width}
    made = _FromPackage(N_GENES, N_TOKENS, **sizes)
    return pulled(made, made)


def scbert() -> Contender:
    """Make scBERT's encoder likewise: any cell is a value for each of its genes, silent ones too, and a last 0."""
    made = _FromPackage(SCBERT_GENES, 7, dim=200, depth=6, heads=10, dim_head=64)
    genes = torch.arange(SCBERT_GENES + 1)[None]

    def embed(_: Tensor, bins_BL: Tensor) -> Tensor:
        bins = torch.zeros_like(genes)
        bins[0, : bins_BL.shape[1] - 1] = bins_BL[0, 1:]
        return made(genes, bins)

    return pulled(made, embed)


def square_product(size: int = 2_048) -> tuple[Contender, int]:
    """Make a contender that only multiplies two square matrices, and count its FLOPs."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    return lambda _: torch.mm(left, right, out=out), 2 * size**3
