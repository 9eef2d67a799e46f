"""How much of a device the encoder and the step use: `python perf/gpu.py --json`, at most 8 minutes on one GPU.

Rates of a large product of matrices in each precision; beside them the encoder by kind of attention, forwards and
backwards through the cells' embeddings; and the contrastive step, chunked and full-batch. FLOPs are those of
`celllm.pretrain.flops`; a ratio is the share of the product's rate in the same precision. `tf32`: float32 with products
of 19 bits; `bf16`: as `training.precision: bf16-mixed`, FAVOR+ then in TF32. Without a GPU it runs on the CPU, where
`--tiny` ends in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from line import line, options, show

from celllm.config.recipe_encoder import EncoderSettings
from celllm.model.encoder import Encoder
from celllm.pretrain.chunks import by_tokens
from celllm.pretrain.flops import encoding_flops
from celllm.pretrain.measure import MODES, contrastive_step
from celllm.pretrain.synthetic import synthetic_batch, synthetic_encoder, synthetic_lengths

N_GENES = 19_379
PRECISIONS = ("fp32", "tf32", "bf16")
ATTENTIONS = ("favor", "softmax", "none")


class Sizes(NamedTuple):
    """What is measured; seconds a figure."""

    settings: EncoderSettings
    budget: float
    product: int
    length: int
    n_cells: int
    batch: int
    max_tokens: int
    longest: int


PAPER = Sizes(EncoderSettings(width=512, depth=10, heads=16, head_width=64), 5.0, 8192, 1_616, 30, 256, 49_152, 6_000)
TINY = Sizes(EncoderSettings(width=32, depth=2, heads=2, head_width=16), 0.01, 128, 16, 4, 8, 64, 16)


def seconds(run: Callable[[], object], device: torch.device, *, budget: float) -> float:
    """Return the least time of a run, after one that warms up, for as long as the budget lasts."""
    times, deadline = [], float("inf")
    while len(times) < 2 or time.perf_counter() < deadline:
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
        if len(times) == 1:
            deadline = time.perf_counter() + budget
    return min(times[1:])


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Switch TF32 on or off, and return the context in which an encoder of this precision runs."""
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def figures(sizes: Sizes, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield products, encoders and steps."""
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rates = {}
    for precision in PRECISIONS:
        autocast(precision, device)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(sizes.product, sizes.product, device=device, dtype=dtype) for _ in range(2))
        taken = seconds(partial(torch.mm, a, b), device, budget=sizes.budget)
        rates[precision] = 2 * sizes.product**3 / taken
        yield line(f"product_{precision}", rates[precision] / 1e12, "TFLOP/s", peer=what)
    yield from encoders(sizes, rates, device)
    yield from steps(sizes, device)


def encoders(sizes: Sizes, rates: dict[str, float], device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield how fast cells of one length go forwards and backwards, by attention and precision."""
    n_cells, length = sizes.n_cells, sizes.length
    batch = synthetic_batch(np.full(n_cells, length), n_genes=N_GENES, device=device)
    cells = batch.plain()[slice(0, n_cells)]

    def run(encoder: Encoder, context: AbstractContextManager[Any]) -> None:
        encoder.zero_grad(set_to_none=True)
        with context:
            z_BD = encoder.embed(cells["genes"], cells["bins"])
        z_BD.float().sum().backward()

    for attention in ATTENTIONS:
        settings = sizes.settings.model_copy(update={"attention": attention})
        encoder = synthetic_encoder(settings, N_GENES).to(device)
        forwards, backwards = encoding_flops(settings, length, 1)
        for precision in PRECISIONS:
            taken = seconds(partial(run, encoder, autocast(precision, device)), device, budget=sizes.budget)
            rate = n_cells * (forwards.total + backwards.total) / taken
            told = f"{rate / 1e12:.3g} TFLOP/s; a product has {rates[precision] / 1e12:.3g}"
            name = f"encoder_{attention}_{precision}"
            yield line(name, n_cells * length / taken, "tokens/s", peer=told, ratio=rate / rates[precision])


def steps(sizes: Sizes, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield cells/s and peak memory of the contrastive step in bf16, chunked and full-batch."""
    lengths = synthetic_lengths(sizes.batch, max_length=sizes.longest)
    cells = synthetic_batch(lengths, n_genes=N_GENES, device=device).plain()
    chunks = by_tokens(lengths, sizes.max_tokens)
    encoder = synthetic_encoder(sizes.settings, N_GENES).to(device)
    taken = []
    for mode in MODES:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        run = partial(contrastive_step, encoder, cells, chunks, mode=mode, context=autocast("bf16", device))
        taken.append(seconds(run, device, budget=sizes.budget))
        peak = f", {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB" if device.type == "cuda" else ""
        told = f"B = {sizes.batch}, {len(chunks)} chunks a view{peak}"
        yield line(f"step_{mode}", sizes.batch / taken[-1], "cells/s", peer=told)
    yield line("step_overhead", taken[0] / taken[1], "times", peer="chunked over full-batch")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--tiny", action="store_true", help="sizes for a CPU and a few seconds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu")
    args = parser.parse_args()
    show(figures(TINY if args.tiny else PAPER, torch.device(args.device)), as_json=args.json)


if __name__ == "__main__":
    main()
