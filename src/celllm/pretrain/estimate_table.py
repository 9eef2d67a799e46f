"""An estimate as tables of text."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from celllm.base.report_table import as_markdown
from celllm.config.recipe import Recipe
from celllm.pretrain.estimate import USABLE, Estimate, Memory
from celllm.pretrain.gpus import GPUS
from celllm.pretrain.measure import Timing


def described(
    found: Estimate, recipe: Recipe, *, lengths: str, timing: Timing | None = None, cpu: Memory | None = None
) -> str:
    """Return the tables of an estimate.

    `lengths` says where the lengths of cells are from; `timing` is of the device at hand, `cpu` the memory of a process
    on it at the recipe's budget; None: nothing was timed.
    """
    parts = [_run(found, recipe, lengths), _memory(found, recipe)]
    if found.hours:
        parts.append(_hours(found))
    if timing is not None:
        parts.append(_timed(found, recipe, timing, cpu))
    disk = found.disk
    rows = {
        "shards": _gb(disk.shards),
        f"checkpoints, {disk.n_checkpoints} of {_gb(disk.checkpoint)}": _gb(disk.checkpoint * disk.n_checkpoints),
        "encoder": _gb(disk.encoder),
    }
    return "\n".join([*parts, _table(rows, title="Disk", note="Computed, GB (10^9 bytes).")])


def _run(found: Estimate, recipe: Recipe, lengths: str) -> str:
    training, tokens, total = recipe.training, found.tokens, found.flops.total
    rows = {
        "parameters, encoder": f"{found.encoder.total:,}",
        "of them the gene embedding": f"{found.encoder.gene_embedding:,}",
        "parameters with the heads of pretraining": f"{found.trained.total:,}",
        "of them trained": f"{found.trained.trained:,}",
        "cells, genes": f"{found.n_cells:,}, {found.n_genes:,}",
        "steps x cells a step": f"{training.steps:,} x {training.batch_cells:,}, {found.epochs:.2f} epochs",
        "tokens a cell": "mean {mean:,.0f}, median {median:,.0f}, 99 % {percentile_99:,.0f}".format(**tokens),
        "cells that are cut; padding": f"{tokens['cut_fraction']:.2%}; {tokens['padding_fraction']:.1%}",
        "TFLOP a step": f"{_three(total / 1e12)}, of it in float32 {_three(found.flops.float32 / 1e12)}",
        "GFLOP a cell": _three(total / training.batch_cells / 1e9),
        "memory traffic a token and step": f"{found.chunk.step_traffic / 1e6:,.1f} MB beside matrix products",
    }
    return _table(rows, title="Run", note=f"Computed, not measured; {lengths}.")


def _memory(found: Estimate, recipe: Recipe) -> str:
    note = (
        f"Computed, GB (10^9 bytes), on a GPU. The batch sets the fifth column, chunk_tokens the sixth: "
        f"{found.chunk.token_bytes / 1e3:.1f} kB a token. The recipe has {recipe.training.chunk_tokens:,}."
    )
    if found.max_budgets:
        fitting = {name: f"{n:,} tokens" if n else "not even one chunk" for name, n in found.max_budgets.items()}
        budgets = "; ".join(f"{GPUS[name].title}: {told}" for name, told in fitting.items())
        note += f" Most that fits into {USABLE:.0%} of the memory (an assumption): {budgets}."
    columns = {
        "weights": "weights",
        "gradients": "gradients",
        "AdamW": "optimiser",
        "embeddings, InfoNCE": "embeddings",
        "a chunk": "chunk",
        "device": "device",
        "host": "host",
    }
    rows = [
        {"tokens a chunk": f"{one.chunk_tokens:,}"} | {name: _gb(getattr(one, of)) for name, of in columns.items()}
        for one in found.memory
    ]
    return as_markdown(pd.DataFrame(rows), title="Memory by chunk budget", note=note)


def _hours(found: Estimate) -> str:
    columns = {"GPUs": [str(n) for n in next(iter(found.hours.values()))]}
    for name, hours in found.hours.items():
        columns[f"{GPUS[name].title}, hours"] = [f"{one:,.1f}" for one in hours.values()]
    note = (
        f"Computed, not measured: each kind of work at {found.efficiency:g} of its peak in the maker's data sheet (an "
        "assumption; hours are proportional to its inverse). Several GPUs share the cells evenly, communication (below "
        "1 % at the paper's size) not counted."
    )
    return as_markdown(pd.DataFrame(columns), title="Hours", note=note)


def _timed(found: Estimate, recipe: Recipe, timing: Timing, cpu: Memory | None) -> str:
    step_s = timing.step_s(found.flops.total)
    rows = {
        "timed": f"{timing.n_steps} steps of {timing.n_cells} cells, {timing.n_tokens:,} tokens",
        "GFLOP/s": f"{1e-9 / timing.seconds_per_flop:,.1f}",
        "clipping and AdamW, ms a step": f"{timing.optimiser_s * 1e3:,.1f}",
        "seconds a step": f"{step_s:,.3g}",
        "hours of all steps": f"{step_s * recipe.training.steps / 3600:,.3g}",
    }
    if cpu is not None:
        rows["memory of a process, GB"] = f"{_gb(cpu.device + cpu.host)}, and about 0.4 of interpreter and libraries"
    note = f"Extrapolated from steps timed on {timing.device}, threads of torch: {timing.threads}."
    return _table(rows, title="On the device at hand", note=note)


def _table(rows: Mapping[str, str], *, title: str, note: str) -> str:
    return as_markdown(pd.DataFrame(list(rows.items()), columns=["what", "how much"]), title=title, note=note)


def _three(number: float) -> str:
    """Show three digits, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.3f}" if n_bytes < 1e10 else f"{n_bytes / 1e9:,.1f}"
