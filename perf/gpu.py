"""How much of a device the encoder and the step use: `python perf/gpu.py --json`, at most 8 minutes on one GPU.

Rates of a large product of matrices in each precision; beside them the encoder by kind of attention, forwards and
backwards through the cells' embeddings; and the contrastive step, chunked and full-batch. FLOPs are those of
`celllm.pretrain.flops`; a ratio is the share of the product's rate in the same precision. `tf32`: float32 with products
of 19 bits; `bf16`: as `training.precision: bf16-mixed`, FAVOR+ then in TF32. Without a GPU it runs on the CPU, where
`--tiny` ends in seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from line import line, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from celllm.config.recipe_encoder import EncoderSettings
from celllm.model.encoder import Encoder
from celllm.model.randomness import seeded
from celllm.pretrain.chunks import by_tokens
from celllm.pretrain.flops import encoding_flops
from celllm.pretrain.losses import info_nce
from celllm.pretrain.measure import MODES, take_step
from celllm.pretrain.synthetic import synthetic_batch, synthetic_lengths

N_GENES = 19_379
PAPER = EncoderSettings(width=512, depth=10, heads=16, head_width=64)
TINY = EncoderSettings(width=32, depth=2, heads=2, head_width=16)
PRECISIONS = ("fp32", "tf32", "bf16")
ATTENTIONS = ("favor", "softmax", "none")


def seconds(run: Callable[[], object], device: torch.device, *, budget: float) -> float:
    """Return the least time of a run, after one that warms up, for as long as the budget lasts."""

    def once() -> float:
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    once()
    deadline = time.perf_counter() + budget
    times = [once()]
    while time.perf_counter() < deadline:
        times.append(once())
    return min(times)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Switch TF32 on or off, and return the context in which an encoder of this precision runs."""
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def encoder_of(settings: EncoderSettings, device: torch.device) -> Encoder:
    """Build an encoder with drawn weights, in training mode."""
    with seeded(0, torch.device("cpu")):
        made = Encoder(settings, n_genes=N_GENES, gene_embedding=torch.randn(N_GENES, settings.width))
    return made.to(device).train()


def products(size: int, device: torch.device, *, budget: float) -> Iterator[tuple[str, float]]:
    """Yield FLOP/s of a product of two square matrices, by precision."""
    for precision in PRECISIONS:
        autocast(precision, device)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        yield precision, 2 * size**3 / seconds(partial(torch.mm, a, b), device, budget=budget)


def encoders(
    settings: EncoderSettings,
    rates: dict[str, float],
    device: torch.device,
    *,
    length: int,
    n_cells: int,
    budget: float,
) -> Iterator[dict[str, Any]]:
    """Yield how fast cells of one length go forwards and backwards, by attention and precision."""
    lengths = np.full(n_cells, length)
    batch = synthetic_batch(lengths, np.zeros_like(lengths), n_genes=N_GENES, device=device)
    cells = batch.plain()[slice(0, n_cells)]
    for attention in ATTENTIONS:
        chosen = settings.model_copy(update={"attention": attention})
        encoder = encoder_of(chosen, device)
        forwards, backwards = encoding_flops(chosen, length, 1)
        for precision in PRECISIONS:
            context = autocast(precision, device)

            def run(encoder: Encoder = encoder, context: AbstractContextManager[Any] = context) -> None:
                encoder.zero_grad(set_to_none=True)
                with context:
                    z_BD = encoder.embed(cells["genes"], cells["bins"])
                z_BD.float().sum().backward()

            taken = seconds(run, device, budget=budget)
            rate = n_cells * (forwards.total + backwards.total) / taken
            told = f"{rate / 1e12:.3g} TFLOP/s; a product has {rates[precision] / 1e12:.3g}"
            name = f"encoder_{attention}_{precision}"
            yield line(name, n_cells * length / taken, "tokens/s", peer=told, ratio=rate / rates[precision])


def steps(
    settings: EncoderSettings, device: torch.device, *, n_cells: int, max_tokens: int, longest: int, budget: float
) -> Iterator[dict[str, Any]]:
    """Yield cells/s and peak memory of the contrastive step in bf16, chunked and full-batch."""
    lengths = synthetic_lengths(n_cells, max_length=longest)
    batch = synthetic_batch(lengths, np.zeros_like(lengths), n_genes=N_GENES, device=device)
    chunks = by_tokens(lengths, max_tokens)
    encoder = encoder_of(settings, device)
    taken: dict[str, float] = {}
    for mode in MODES:
        context = autocast("bf16", device)

        def encode(cells: dict[str, torch.Tensor], context: AbstractContextManager[Any] = context) -> torch.Tensor:
            with context:
                return encoder.embed(cells["genes"], cells["bins"])

        def run(mode: Any = mode, encode: Any = encode) -> None:
            encoder.zero_grad(set_to_none=True)
            loss = partial(info_nce, temperature=0.05)
            take_step(encode, [batch.plain()] * 2, loss, chunks=chunks, mode=mode)

        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        taken[mode] = seconds(run, device, budget=budget)
        peak = f", {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB" if device.type == "cuda" else ""
        told = f"B = {n_cells}, {len(chunks)} chunks a view{peak}"
        yield line(f"step_{mode}", n_cells / taken[mode], "cells/s", peer=told)
    yield line("step_overhead", taken["chunked"] / taken["full-batch"], "times", peer="chunked over full-batch")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--tiny", action="store_true", help="sizes for a CPU and a few seconds")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu")
    args = options.parse_args()
    device = torch.device(args.device)
    settings, budget = (TINY, 0.01) if args.tiny else (PAPER, 5.0)
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rates = dict(products(128 if args.tiny else 8192, device, budget=budget))
    for precision, rate in rates.items():
        show(line(f"product_{precision}", rate / 1e12, "TFLOP/s", peer=what), as_json=args.json)
    length, n_cells = (16, 4) if args.tiny else (1_616, 30)
    for figure in encoders(settings, rates, device, length=length, n_cells=n_cells, budget=budget):
        show(figure, as_json=args.json)
    sizes = (
        {"n_cells": 8, "max_tokens": 64, "longest": 16}
        if args.tiny
        else {"n_cells": 256, "max_tokens": 49_152, "longest": 6_000}
    )
    for figure in steps(settings, device, **sizes, budget=budget):
        show(figure, as_json=args.json)


if __name__ == "__main__":
    main()
