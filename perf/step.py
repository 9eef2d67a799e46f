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

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import simulated
from line import line, show
from simulated import N_GENES

from celllm.config import recipe as recipes
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
from celllm.pretrain.synthetic import synthetic_batch, synthetic_lengths, synthetic_module
from celllm.report.figures.pretraining import draw_step_cost

CPU = torch.device("cpu")
SMALL = EncoderSettings(width=32, depth=1, heads=2, head_width=16, dropout=0.1)
MIDDLE = EncoderSettings(width=64, depth=2, heads=2, head_width=32, dropout=0.1)
BATCHES = (64, 16_384)
BAR_FLAT, BAR_OVERHEAD, BAR_PEER, BAR_GIB, BAR_FASTER = 1.10, 1.36, 1.00, 1.0, 4.0


def encoder_of(settings: EncoderSettings) -> Encoder:
    """Build an encoder with drawn weights, in training mode."""
    with seeded(0, CPU):
        return Encoder(settings, n_genes=N_GENES, gene_embedding=torch.randn(N_GENES, settings.width)).train()


class Embedding(nn.Module):
    """The encoder as a module whose call gives a cell's embedding, as GradCache wants it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, genes: Tensor, bins: Tensor) -> Tensor:
        return self.encoder.embed(genes, bins)


def loss(first_BD: Tensor, second_BD: Tensor) -> Tensor:
    return info_nce(first_BD, second_BD, temperature=0.05)


def in_turn(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[float, float, float]:
    """Run two contenders in turn; return the median CPU seconds of each and the median ratio pair by pair."""
    times = []
    for number in range(repeats + 1):
        pair = []
        for run in (first, second):
            started = time.process_time()
            run()
            pair.append(time.process_time() - started)
        if number > 0:  # the first pair warms up
            times.append(pair)
        print(f"{number}: {pair[0]:.2f} s, {pair[1]:.2f} s", file=sys.stderr, flush=True)
    a, b = np.array(times).T
    return float(np.median(a)), float(np.median(b)), float(np.median(a / b))


def memory_flat(batches: tuple[int, int]) -> list[dict[str, Any]]:
    """Peak memory at a large batch over that at a small one, the same budget of tokens."""
    all_lengths = synthetic_lengths(max(batches))
    plan = measure.StepPlan(SMALL, N_GENES, all_lengths, max_tokens=98_304)
    found = {}
    for n_cells in batches:
        found[n_cells] = measure.in_fresh_process(measure.measured_step, replace(plan, lengths_B=all_lengths[:n_cells]))
        print(f"B = {n_cells}: {found[n_cells]}", file=sys.stderr, flush=True)
    few, many = batches
    # two views; embedding and gradient of each
    caches = {n_cells: 2 * 2 * n_cells * SMALL.width * 4 for n_cells in batches}
    peaks = {n_cells: found[n_cells].peak_bytes - caches[n_cells] for n_cells in batches}
    above = {n_cells: peaks[n_cells] - found[n_cells].before_bytes for n_cells in batches}
    n_chunks = {n_cells: len(by_tokens(all_lengths[:n_cells], plan.max_tokens)) for n_cells in batches}
    told = (
        f"B = {many:,} ({n_chunks[many]} chunks a view, {found[many].seconds:.0f} s) over B = {few:,} "
        f"({n_chunks[few]} chunks), caches subtracted"
    )
    made = []
    for name, of, note in (("memory_flat", peaks, ""), ("memory_flat_above_start", above, " above the start")):
        value = of[many] / of[few]
        sizes = f": {of[many] / 1e6:.0f} MB over {of[few] / 1e6:.0f} MB{note}"
        is_judged = of is peaks
        bar, ok = (BAR_FLAT, value <= BAR_FLAT) if is_judged else (None, None)
        made.append(line(name, value, "times", peer=told + sizes, bar=bar, ok=ok))
    return made


def cells_of(n_cells: int) -> View:
    """Return synthetic cells, padded when they are asked for."""
    lengths = synthetic_lengths(n_cells)
    return synthetic_batch(lengths, np.zeros_like(lengths), n_genes=N_GENES, device=CPU).plain()


def step_overhead(n_cells: int, max_tokens: int, repeats: int) -> dict[str, Any]:
    """Time of the chunked step over that of the full-batch one, and the least it can be on this machine.

    The chunked step passes all chunks but the last once more, without a graph; how long that takes is measured too.
    """
    encoder = encoder_of(MIDDLE)
    cells = cells_of(n_cells)
    chunks = by_tokens(synthetic_lengths(n_cells), max_tokens)
    n_all = 2 * len(chunks)

    def take_step(mode: measure.Mode) -> None:
        encoder.zero_grad(set_to_none=True)
        measure.take_step(
            lambda view: encoder.embed(view["genes"], view["bins"]), [cells] * 2, loss, chunks=chunks, mode=mode
        )

    @torch.no_grad()
    def pass_again() -> None:
        for rows in [*chunks, *chunks][: n_all - 1]:
            encoder.embed(cells[rows]["genes"], cells[rows]["bins"])

    ours, theirs, ratio = in_turn(partial(take_step, "chunked"), partial(take_step, "full-batch"), repeats)
    again, _, share = in_turn(pass_again, partial(take_step, "full-batch"), repeats)
    peer = (
        f"the same {n_all} chunks with all graphs held: {theirs:.2f} s; {n_all - 1} of them without graph: {again:.2f} "
        f"s; limit here {1 + share:.3f}; were backward two forwards, {(4 * n_all - 1) / (3 * n_all):.3f}"
    )
    return line("step_overhead", ours, "s", peer=peer, ratio=ratio, bar=BAR_OVERHEAD, ok=ratio <= BAR_OVERHEAD)


def contender(name: str, folder: Path, n_cells: int, chunk_size: int) -> tuple[Embedding, Callable[[], Tensor]]:
    """Return the module of a step through ours or GradCache, and what takes the step; both of the same padded cells."""
    module = Embedding(encoder_of(MIDDLE))
    cells = cells_of(n_cells)[slice(0, n_cells)]
    if name == "ours":
        return module, lambda: divide_and_conquer(
            lambda view: module(**view), [cells] * 2, loss, chunk_size=chunk_size, parameters=module.parameters()
        )
    sys.path.insert(0, str(folder / "src"))
    from grad_cache import GradCache

    cached = GradCache([module, module], chunk_sizes=chunk_size, loss_fn=loss)
    return module, lambda: cached(cells, cells)


def contend(name: str, folder: Path, n_cells: int, chunk_size: int) -> measure.Cost:
    """Take two steps in this process; return their cost."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    module, take_step = contender(name, folder, n_cells, chunk_size)
    before_bytes = measure.process_bytes("VmRSS")
    started = time.perf_counter()
    for _ in range(2):
        module.zero_grad(set_to_none=True)
        with seeded(1, CPU):
            take_step()
    return measure.Cost((time.perf_counter() - started) / 2, measure.process_bytes("VmHWM"), before_bytes)


def vs_gradcache(folder: Path | None, sizes: tuple[tuple[int, int], ...], repeats: int) -> list[dict[str, Any]]:
    """Time and memory of the same step through GradCache, once both give the same gradient.

    `sizes` are the cells of the batch and of a chunk: for the time, where many short runs count, and for the memory.
    """
    (n_cells, chunk_size), of_memory = sizes
    names = ("vs_gradcache_time", "vs_gradcache_memory")
    if folder is None or not (folder / "src/grad_cache").is_dir():
        peer = "GradCache is not there: give its checkout, --gradcache DIR"
        return [line(name, None, "-", peer=peer, bar=BAR_PEER) for name in names]
    pair = [contender(name, folder, n_cells, chunk_size) for name in ("ours", "theirs")]

    def seeded_step(number: int) -> None:
        module, take_step = pair[number]
        module.zero_grad(set_to_none=True)
        with seeded(1, CPU):
            take_step()

    seconds = in_turn(partial(seeded_step, 0), partial(seeded_step, 1), repeats)
    gradients = [
        [parameter.grad for parameter in module.parameters() if parameter.grad is not None] for module, _ in pair
    ]
    largest = max(float(gradient.abs().max()) for gradient in gradients[1])
    difference = max(float((a - b).abs().max()) for a, b in zip(*gradients, strict=True)) / largest
    assert difference <= 1e-5, difference
    costs = []
    for _ in range(3):
        costs.append([measure.in_fresh_process(contend, name, folder, *of_memory) for name in ("ours", "theirs")])
        print(costs[-1], file=sys.stderr, flush=True)
    peaks = np.array([[one.peak_bytes for one in turn] for turn in costs])
    above = np.array([[one.peak_bytes - one.before_bytes for one in turn] for turn in costs])
    n_all = 2 * len(by_number(n_cells, chunk_size))
    same = f"GradCache, B = {n_cells}, {n_all} chunks of {chunk_size} cells, gradients differ by {difference:.1e}"
    same_memory = f"GradCache, B = {of_memory[0]}, chunks of {of_memory[1]} cells"
    made = []
    peer = f"{same}: {seconds[1]:.2f} s; the kept chunk saves 1/{4 * n_all} of the work, {1 - 0.25 / n_all:.3f}"
    made.append(line(names[0], seconds[0], "s", peer=peer, ratio=seconds[2], bar=BAR_PEER, ok=seconds[2] <= BAR_PEER))
    for name, of, note in ((names[1], peaks, ""), (f"{names[1]}_above_start", above, " above the start")):
        ours, theirs = np.median(of, axis=0) / 1e9
        ratio = float(np.median(of[:, 0] / of[:, 1]))
        peer = f"{same_memory}: {theirs:.4f} GB{note}"
        made.append(line(name, float(ours), "GB", peer=peer, ratio=ratio, bar=BAR_PEER, ok=ratio <= BAR_PEER))
    return made


def info_nce_extra(n_cells: int, width: int) -> tuple[int, float]:
    """Return what InfoNCE and its gradient hold above their inputs, in bytes, and the seconds they take."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    first_BD, second_BD = (torch.randn(n_cells, width, generator=generator).requires_grad_() for _ in range(2))
    before_bytes = measure.process_bytes("VmRSS")
    started = time.perf_counter()
    loss(first_BD, second_BD).backward()
    return measure.process_bytes("VmHWM") - before_bytes, time.perf_counter() - started


def tiled_info_nce(n_cells: int, width: int = 512) -> dict[str, Any]:
    n_bytes, seconds = measure.in_fresh_process(info_nce_extra, n_cells, width)
    gib = n_bytes / 2**30
    gradients, whole = 2 * n_cells * width * 4 / 2**30, n_cells**2 * 4 / 2**30
    peer = (
        f"forward and backward at {n_cells:,} x {width} float32, {seconds:.0f} s; of it the gradients themselves "
        f"{gradients:.2f} GiB; one B x B matrix would be {whole:.0f} GiB"
    )
    return line("tiled_infonce_extra_gib", gib, "GiB", peer=peer, bar=BAR_GIB, ok=gib <= BAR_GIB)


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
    module = synthetic_module(recipe, N_GENES, device=CPU)

    def make() -> StepBatch:
        cells = np.arange(training.batch_cells)
        return make_batch(corpus, cells, recipe, panel=None, seed=0, step=1, device=CPU)

    budgets = {"max_tokens": training.chunk_tokens, "keep_tokens": training.keep_tokens}
    step, batch = StepLoss(module, recipe.objectives, **budgets, autocast=nullcontext), make()

    def take() -> None:
        module.zero_grad(set_to_none=True)
        step.accumulate(batch, health=False)

    return take, make


def faster_steps(repeats: int) -> list[dict[str, Any]]:
    """Time of a whole step at recipe real's size over that of faster ones, and of making their batch."""
    corpus = simulated.corpus(RECIPE["training"]["batch_cells"], n_genes=N_GENES)
    before, _ = whole_step([RECIPE], corpus)
    overlays, made = [RECIPE], []
    for name, overlay in FASTER.items():
        overlays.append(overlay)
        after, make = whole_step(overlays, corpus)
        slow, fast, ratio = in_turn(before, after, repeats)
        peer = f"{name}: {fast:.2f} s; before: {slow:.2f} s a step of {corpus.n_cells} cells"
        bar, ok = (BAR_FASTER, ratio >= BAR_FASTER) if name == list(FASTER)[-1] else (None, None)
        made.append(line("faster_step", corpus.n_cells / fast, "cells/s", peer=peer, ratio=ratio, bar=bar, ok=ok))
    step_s, make_s, _ = in_turn(after, make, repeats)
    told = f"the batch of the last: {make_s:.3f} s, in a thread of its own"
    made.append(line("batch_fraction", make_s / step_s, "of a step", peer=told))
    return made


def draw(path: Path, batches: list[int], limit_gb: float) -> list[dict[str, Any]]:
    """Measure and draw memory and time against B; return lines of the largest B that fits."""
    settings = replace_depth(MIDDLE, 1)
    plan = measure.StepPlan(settings, N_GENES, synthetic_lengths(max(batches)), max_tokens=16_384)
    plan = replace(plan, limit_bytes=int(limit_gb * 1e9))
    rows = measure.sweep(plan, batches, report=lambda message: print(message, file=sys.stderr, flush=True))
    table = pd.DataFrame(rows)
    what = f"width {settings.width}, depth {settings.depth}, chunks of {plan.max_tokens:,} tokens, one CPU core"
    draw_step_cost(table, limit_gb=limit_gb, what=what).savefig(path, dpi=150)
    made = []
    for mode in measure.MODES:
        rows = table[table["mode"] == mode]
        over = rows[~rows["fits"]]
        told = f"does not fit: B = {int(over['B'].min()):,}" if len(over) else "all fit"
        largest = rows[rows["fits"]].sort_values("B").iloc[-1]
        peer = f"limit {limit_gb:g} GB; {told}; peak {largest['peak_gb']:.2f} GB, {largest['seconds']:.1f} s a step"
        made.append(line(f"largest_batch_{mode}", int(largest["B"]), "cells", peer=peer))
    return made


def replace_depth(settings: EncoderSettings, depth: int) -> EncoderSettings:
    return settings.model_copy(update={"depth": depth})


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--gradcache", type=Path, help="checkout of GradCache: the folder that holds src/grad_cache")
    options.add_argument("--figure", type=Path, help="draw memory and time against B into this file")
    options.add_argument("--batches", type=int, nargs="+", default=[2**n for n in range(4, 12)], help="its B")
    options.add_argument("--limit-gb", type=float, default=8, help="memory of the figure's processes, 10^9 bytes")
    options.add_argument("--repeats", type=int, default=7, help="runs in turn behind a ratio")
    options.add_argument(
        "--only", nargs="+", default=["flat", "overhead", "gradcache", "infonce", "recipe"], help="what to measure"
    )
    args = options.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "flat": lambda: memory_flat(BATCHES),
        "overhead": lambda: [step_overhead(64, 12_288, args.repeats)],
        "gradcache": lambda: vs_gradcache(args.gradcache, ((16, 4), (32, 8)), 2 * args.repeats),
        "infonce": lambda: [tiled_info_nce(65_536)],
        "recipe": lambda: faster_steps(args.repeats),
    }
    for name, part in parts.items():
        for figure in part() if name in args.only else []:
            show(figure, as_json=args.json)
    for figure in draw(args.figure, args.batches, args.limit_gb) if args.figure else []:
        show(figure, as_json=args.json)


if __name__ == "__main__":
    main()
