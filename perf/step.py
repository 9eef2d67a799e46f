"""Memory and time of the chunked step: `python perf/step.py --json [--gradcache DIR] [--figure FILE.png]`.

On a CPU, one thread, dropout on; the contrastive loss alone, but for `recipe`, which takes whole steps of simulated
cells. Elsewhere lengths of cells are drawn from the paper's corpus, their genes and bins are random. Peak memory is the
kernel's high-water mark of a process of its own (VmHWM), interpreter and libraries included; where it says "above the
start", without what the process held before the step. Ratios are ours over the peer's, those of `recipe` how many times
faster; those of time are medians over runs in turn, in CPU seconds of one process, so that other work on the machine
counts for little.

`--gradcache` is a checkout of https://github.com/luyug/GradCache, the folder that holds src/grad_cache.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simulated
import torch
from line import in_turn, line, options, say, show
from simulated import N_GENES
from torch import Tensor, nn

from celllm.config import recipe as recipes
from celllm.config.catalogue import Catalogue
from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.memory import MemoryCorpus
from celllm.model.encoder import Encoder
from celllm.model.randomness import seeded
from celllm.pretrain import measure
from celllm.pretrain.batch import StepBatch, View, make_batch
from celllm.pretrain.chunks import by_number, by_tokens
from celllm.pretrain.divide import divide_and_conquer
from celllm.pretrain.losses import info_nce
from celllm.pretrain.step import StepLoss
from celllm.pretrain.synthetic import CPU, synthetic_batch, synthetic_encoder, synthetic_lengths, synthetic_module
from celllm.report.figures.pretraining import draw_cost_of_encoder

SMALL = EncoderSettings(width=32, depth=1, heads=2, head_width=16, dropout=0.1)
MIDDLE = EncoderSettings(width=64, depth=2, heads=2, head_width=32, dropout=0.1)
Figures = Iterator[dict[str, Any]]


class Embedding(nn.Module):
    """The encoder as a module whose call gives a cell's embedding, as GradCache wants it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, genes: Tensor, bins: Tensor) -> Tensor:
        return self.encoder.embed(genes, bins)


def loss(first_BD: Tensor, second_BD: Tensor) -> Tensor:
    return info_nce(first_BD, second_BD, temperature=0.05)


def memory_flat(few: int = 64, many: int = 16_384) -> Figures:
    """Peak memory, cells and embeddings aside, at a large batch over that at a small one, the same budget of tokens."""
    all_lengths = synthetic_lengths(many)
    plan = measure.StepPlan(SMALL, N_GENES, all_lengths, max_tokens=98_304)
    peaks, above, told = [], [], []
    for n_cells in (many, few):
        own = replace(plan, lengths_B=all_lengths[:n_cells])
        found: measure.Cost = measure.in_fresh_process(measure.measured_step, own)
        # of two views: embedding and unit vector of a cell, with the gradient of each; and the cells, 3 bytes a token
        held = 2 * 4 * n_cells * SMALL.width * 4 + 3 * int(own.lengths_B.sum())
        peaks.append(found.peak_bytes - held)
        above.append(peaks[-1] - found.before_bytes)
        n_chunks = len(by_tokens(own.lengths_B, plan.max_tokens))
        told.append(f"B = {n_cells:,} ({n_chunks} chunks a view, {found.seconds:.0f} s)")
        say(f"{told[-1]}: {found}")
    peer = f"{' over '.join(told)}, cells and embeddings subtracted: "
    sizes = [f"{one[0] / 1e6:.0f} MB over {one[1] / 1e6:.0f} MB" for one in (peaks, above)]
    yield line("memory_flat", peaks[0] / peaks[1], "times", peer=peer + sizes[0], at_most=1.10)
    note = f"{peer}{sizes[1]} above the start"
    yield line("memory_flat_above_start", above[0] / above[1], "times", peer=note)


def cells_of(n_cells: int) -> View:
    """Return synthetic cells, padded when they are asked for."""
    return synthetic_batch(synthetic_lengths(n_cells), n_genes=N_GENES).plain()


def step_overhead(repeats: int, n_cells: int = 64, max_tokens: int = 12_288) -> Figures:
    """Time of the chunked step over that of the full-batch one, and the least it can be on this machine.

    The chunked step passes all chunks but the last once more, without a graph; how long that takes is measured too.
    """
    encoder, cells = synthetic_encoder(MIDDLE, N_GENES), cells_of(n_cells)
    chunks = by_tokens(synthetic_lengths(n_cells), max_tokens)
    n_all = 2 * len(chunks)
    chunked, full = (partial(measure.contrastive_step, encoder, cells, chunks, mode=mode) for mode in measure.MODES)

    @torch.no_grad()
    def pass_again() -> None:
        for rows in [*chunks, *chunks][: n_all - 1]:
            encoder.embed(cells[rows]["genes"], cells[rows]["bins"])

    ours, theirs, ratio = in_turn(chunked, full, repeats)
    again, _, share = in_turn(pass_again, full, repeats)
    peer = (
        f"the same {n_all} chunks with all graphs held: {theirs:.2f} s; {n_all - 1} of them without graph: {again:.2f} "
        f"s; limit here {1 + share:.3f}; were backward two forwards, {(4 * n_all - 1) / (3 * n_all):.3f}"
    )
    yield line("step_overhead", ours, "s", peer=peer, ratio=ratio, at_most=1.36)


def contender(name: str, folder: Path, n_cells: int, chunk_size: int) -> tuple[Embedding, Callable[[], None]]:
    """Return the module of a step through ours or GradCache, and what takes the step; both of the same padded cells."""
    module = Embedding(synthetic_encoder(MIDDLE, N_GENES))
    cells = cells_of(n_cells)[slice(0, n_cells)]
    if name == "ours":
        step = partial(divide_and_conquer, lambda view: module(**view), [cells] * 2, loss, chunk_size=chunk_size)
        step = partial(step, parameters=list(module.parameters()))
    else:
        sys.path.insert(0, str(folder / "src"))
        from grad_cache import GradCache

        step = partial(GradCache([module, module], chunk_sizes=chunk_size, loss_fn=loss), cells, cells)

    def take_step() -> None:
        module.zero_grad(set_to_none=True)
        with seeded(1, CPU):
            step()

    return module, take_step


def contend(name: str, folder: Path, n_cells: int, chunk_size: int) -> measure.Cost:
    """Take two steps in this process; return their cost."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    _, take_step = contender(name, folder, n_cells, chunk_size)
    before_bytes = measure.process_bytes("VmRSS")
    started = time.perf_counter()
    for _ in range(2):
        take_step()
    return measure.Cost((time.perf_counter() - started) / 2, measure.process_bytes("VmHWM"), before_bytes)


def vs_gradcache(folder: Path | None, repeats: int) -> Figures:
    """Time and memory of the same step through GradCache, once both give the same gradient."""
    (n_cells, chunk_size), of_memory = (16, 4), (32, 8)  # many short runs for the time
    if folder is None or not (folder / "src/grad_cache").is_dir():
        for name in ("vs_gradcache_time", "vs_gradcache_memory"):
            yield line(name, None, "-", peer="GradCache is not there: give its checkout, --gradcache DIR")
        return
    names = ("ours", "theirs")
    pair = [contender(name, folder, n_cells, chunk_size) for name in names]
    ours, theirs, ratio = in_turn(pair[0][1], pair[1][1], repeats)
    found, expected = ([p.grad for p in module.parameters() if p.grad is not None] for module, _ in pair)
    largest = max(float(gradient.abs().max()) for gradient in expected)
    difference = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) / largest
    assert difference <= 1e-5, difference
    n_all = 2 * len(by_number(n_cells, chunk_size))
    peer = f"GradCache, B = {n_cells}, {n_all} chunks of {chunk_size} cells, gradients differ by {difference:.1e}: "
    peer += f"{theirs:.2f} s; the kept chunk saves 1/{4 * n_all} of the work, {1 - 0.25 / n_all:.3f}"
    yield line("vs_gradcache_time", ours, "s", peer=peer, ratio=ratio, at_most=1.0)
    costs = [[measure.in_fresh_process(contend, name, folder, *of_memory) for name in names] for _ in range(3)]
    peaks = np.array([[one.peak_bytes for one in turn] for turn in costs]) / 1e9
    above = peaks - np.array([[one.before_bytes for one in turn] for turn in costs]) / 1e9
    peer = f"GradCache, B = {of_memory[0]}, chunks of {of_memory[1]} cells"
    for of, name, note in ((peaks, "", ""), (above, "_above_start", " above the start")):
        ours, theirs = np.median(of, axis=0)
        ratio, told = float(np.median(of[:, 0] / of[:, 1])), f"{peer}: {theirs:.4f} GB{note}"
        yield line(f"vs_gradcache_memory{name}", float(ours), "GB", peer=told, ratio=ratio, at_most=1.0)


def info_nce_extra(n_cells: int, width: int) -> tuple[int, float]:
    """Return what InfoNCE and its gradient hold above their inputs, in bytes, and the seconds they take."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    first_BD, second_BD = (torch.randn(n_cells, width, generator=generator).requires_grad_() for _ in range(2))
    before_bytes = measure.process_bytes("VmRSS")
    started = time.perf_counter()
    loss(first_BD, second_BD).backward()
    return measure.process_bytes("VmHWM") - before_bytes, time.perf_counter() - started


def tiled_info_nce(n_cells: int = 65_536, width: int = 512) -> Figures:
    n_bytes, seconds = measure.in_fresh_process(info_nce_extra, n_cells, width)
    gradients, whole = 2 * n_cells * width * 4 / 2**30, n_cells**2 * 4 / 2**30
    peer = (
        f"forward and backward at {n_cells:,} x {width} float32, {seconds:.0f} s; of it the gradients themselves "
        f"{gradients:.2f} GiB; one B x B matrix would be {whole:.0f} GiB"
    )
    yield line("tiled_infonce_extra_gib", n_bytes / 2**30, "GiB", peer=peer, at_most=1.0)


RECIPE: dict[str, Any] = {  # recipe real's size and batch, and the paper's views
    "tokens": {"max_length": 512},
    "genes": {"method": "random"},
    "encoder": {"width": 64, "depth": 2, "heads": 4, "head_width": 16},
    "training": {"batch_cells": 128, "chunk_tokens": 8192, "steps": 1},
}
FASTER: dict[str, dict[str, dict[str, Any]]] = {
    "views of 256 tokens, of half the genes": {
        "tokens": {"max_length": 256},
        "objectives": {"contrastive": {"views": "subset"}},
    },
    "masked loss from the first view": {"objectives": {"shared_masked_view": True}},
    "graphs kept, chunks of 16,384 tokens": {"training": {"chunk_tokens": 16_384, "keep_tokens": 65_536}},
    "softmax attention": {"encoder": {"attention": "softmax"}},
}
"""Each beside those before it."""


def whole_step(overlays: list[dict[str, Any]], corpus: MemoryCorpus) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what takes a step with all losses, and what makes its batch."""
    recipe = recipes.read(*overlays)
    training = recipe.training
    module = synthetic_module(recipe, N_GENES)

    def make() -> StepBatch:
        cells = np.arange(training.batch_cells)
        return make_batch(corpus, cells, recipe, panel=None, seed=0, step=1, device=CPU)

    budgets = {"max_tokens": training.chunk_tokens, "keep_tokens": training.keep_tokens}
    step, batch = StepLoss(module, **budgets, autocast=nullcontext), make()

    def take() -> None:
        module.zero_grad(set_to_none=True)
        step.accumulate(batch, health=False)

    return take, make


def faster_steps(repeats: int) -> Figures:
    """Time of a whole step at recipe real's size over that of faster ones, and of making their batch."""
    corpus = simulated.corpus(RECIPE["training"]["batch_cells"])
    before, _ = whole_step([RECIPE], corpus)
    overlays = [RECIPE]
    for name, overlay in FASTER.items():
        overlays.append(overlay)
        after, make = whole_step(overlays, corpus)
        slow, fast, ratio = in_turn(before, after, repeats)
        peer = f"{name}: {fast:.2f} s; before: {slow:.2f} s a step of {corpus.n_cells} cells"
        bar = 4.0 if len(overlays) > len(FASTER) else None
        yield line("faster_step", corpus.n_cells / fast, "cells/s", peer=peer, ratio=ratio, at_least=bar)
    step_s, make_s, _ = in_turn(after, make, repeats)
    told = f"the batch of the last: {make_s:.3f} s, in a thread of its own"
    yield line("batch_fraction", make_s / step_s, "of a step", peer=told)


def draw(path: Path, batches: list[int], limit_gb: float) -> Figures:
    """Measure and draw memory and time against B; yield the largest B that fits."""
    settings = MIDDLE.model_copy(update={"depth": 1})
    lengths, limit_bytes = synthetic_lengths(max(batches)), int(limit_gb * 1e9)
    plan = measure.StepPlan(settings, N_GENES, lengths, max_tokens=16_384, limit_bytes=limit_bytes)
    table = pd.DataFrame(measure.sweep(plan, batches, report=say))
    what = f"of width {settings.width} and depth {settings.depth}, chunks of {plan.max_tokens:,} tokens"
    config = {"step_cost": {"limit_gb": limit_gb}}
    catalogue = Catalogue(tasks={}, methods={}, datasets={}, runs={}, not_run=(), claims=(), config=config)
    draw_cost_of_encoder(table, catalogue, what).savefig(path, dpi=150)
    for mode, rows in table.groupby("mode"):
        over = rows[rows["seconds"].isna()]
        told = f"does not fit: B = {int(over['B'].min()):,}" if len(over) else "all fit"
        largest = rows[rows["seconds"].notna()].sort_values("B").iloc[-1]
        peer = f"limit {limit_gb:g} GB; {told}; peak {largest['peak_gb']:.2f} GB, {largest['seconds']:.1f} s a step"
        yield line(f"largest_batch_{mode}", int(largest["B"]), "cells", peer=peer)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--gradcache", type=Path, help="checkout of GradCache: the folder that holds src/grad_cache")
    parser.add_argument("--figure", type=Path, help="draw memory and time against B into this file")
    parser.add_argument("--batches", type=int, nargs="+", default=[2**n for n in range(4, 12)], help="its B")
    parser.add_argument("--limit-gb", type=float, default=8, help="memory of the figure's processes, 10^9 bytes")
    parser.add_argument("--repeats", type=int, default=7, help="runs in turn behind a ratio")
    parts: dict[str, Callable[[], Figures]] = {
        "flat": memory_flat,
        "overhead": lambda: step_overhead(args.repeats),
        "gradcache": lambda: vs_gradcache(args.gradcache, 2 * args.repeats),
        "infonce": tiled_info_nce,
        "recipe": lambda: faster_steps(args.repeats),
    }
    parser.add_argument("--only", nargs="+", default=list(parts), help="what to measure")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in [name for name in parts if name in args.only]:
        show(parts[name](), as_json=args.json)
    if args.figure:
        show(draw(args.figure, args.batches, args.limit_gb), as_json=args.json)


if __name__ == "__main__":
    main()
