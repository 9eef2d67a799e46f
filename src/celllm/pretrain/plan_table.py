"""What a run will take, as tables of text and as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from celllm.base.report_table import as_markdown
from celllm.config.recipe import Recipe
from celllm.pretrain.gpus import PER_NODE, Gpu
from celllm.pretrain.hours import Parallel
from celllm.pretrain.outlook import Outlook
from celllm.pretrain.plan import USABLE, Memory

GB = 1e9


def as_plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return an outlook, or a part of it, as values that JSON can hold, by name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return {name: as_plain(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: as_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(part) for part in value]
    return value


def described(found: Outlook, recipe: Recipe, gpus: Mapping[str, Gpu], *, name: str, lengths: str) -> str:
    """Return the tables of a plan.

    Parameters
    ----------
    found
        What was computed.
    recipe
        What it was computed for.
    gpus
        By short name, as in `found`.
    name
        Of the recipe.
    lengths
        Where the lengths of cells are from.
    """
    parts = [_run(found, recipe, name, lengths), _memory(found, recipe, gpus)]
    if gpus:
        parts.append(_hours(found, gpus))
        parts.append(_sharing(found, recipe, gpus))
    if found.calibration is not None and found.calibrated is not None:
        parts.append(_calibrated(found))
    parts.append(_disk(found))
    return "\n".join(parts)


def _run(found: Outlook, recipe: Recipe, name: str, lengths: str) -> str:
    tokens, work = found.tokens, found.work
    batch = recipe.training.batch_cells
    rows = [
        ("parameters, encoder", f"{found.encoder.total:,}"),
        ("of them the gene table", f"{found.encoder.gene_table:,}"),
        ("parameters with the malignancy head", f"{found.trained.total:,}"),
        ("of them trained", f"{found.trained.trained:,}"),
        ("cells, genes", f"{found.n_cells:,}, {found.n_genes:,}"),
        ("steps x cells a step", f"{recipe.training.steps:,} x {batch:,}, {found.epochs:.2f} epochs"),
        ("tokens a cell", f"mean {tokens.mean:,.0f}, median {tokens.median:,.0f}, 99 % {tokens.percentile_99:,.0f}"),
        ("cells that are cut; padding", f"{tokens.cut_fraction:.2%}; {tokens.padding_fraction:.1%}"),
        ("TFLOP a step, one device", f"{_three(work.total / 1e12)}, of it in float32 {_three(work.float32 / 1e12)}"),
        ("GFLOP a cell", _three(work.total / 1e9 / batch)),
        ("GFLOP of InfoNCE a step, each device", _three(found.loss_work.total / 1e9)),
        ("memory traffic a token and step", f"{found.token_traffic_bytes / 1e6:,.3g} MB beside matrix products"),
    ]
    return as_markdown(_table(rows, "what", "how much"), title=f"Recipe {name}", note=f"Computed; {lengths}.")


def _memory(found: Outlook, recipe: Recipe, gpus: Mapping[str, Gpu]) -> str:
    own = recipe.training.chunk_tokens
    note = (
        f"Computed, GB (10^9 bytes) on a GPU; sizes of tensors from a small step, {found.token_bytes / 1e3:,.1f} kB a "
        f"token of a chunk. The recipe's budget is {own:,}."
    )
    if gpus:
        fitting = [f"{gpu.title}: {_budget(found.largest_budgets[short])}" for short, gpu in gpus.items()]
        note += f" Largest budget within {USABLE:.0%} of the memory (an assumption): {'; '.join(fitting)}."
    text = as_markdown(pd.DataFrame(map(_memory_row, found.memory)), title="Memory by chunk budget", note=note)
    if found.memory_cpu:
        added = [{"gaps in the heap": _gb(one.gaps), "process": _gb(one.total)} for one in found.memory_cpu]
        rows = pd.DataFrame([_memory_row(one) | more for one, more in zip(found.memory_cpu, added, strict=True)])
        note = "Computed, GB; interpreter and libraries come on top, about 0.3 GB."
        text += "\n" + as_markdown(rows, title="Memory of a process on a CPU", note=note)
    return text


def _budget(tokens: int) -> str:
    return f"{tokens:,} tokens" if tokens else "not even one chunk"


def _memory_row(one: Memory) -> dict[str, str]:
    return {
        "tokens a chunk": f"{one.chunk_tokens:,}",
        "weights": _gb(one.weights),
        "gradients": _gb(one.gradients),
        "AdamW": _gb(one.optimiser),
        "embeddings, InfoNCE": _gb(one.caches),
        "a chunk": _gb(one.activations),
        "device": _gb(one.device),
        "host": _gb(one.batches),
    }


def _hours(found: Outlook, gpus: Mapping[str, Gpu]) -> str:
    columns = {"GPUs": [str(one.n) for one in next(iter(found.hours.values()))]}
    for short, gpu in gpus.items():
        columns[f"{gpu.title}, hours"] = [f"{one.hours:,.1f}" for one in found.hours[short]]
        columns[f"{gpu.title}, GPU-hours"] = [f"{one.hours * one.n:,.0f}" for one in found.hours[short]]
    sources = "; ".join(dict.fromkeys(gpu.source for gpu in gpus.values()))
    note = (
        f"Computed, not measured: each kind of work at {found.efficiency:g} of its own peak (an assumption, no GPU was "
        f"seen; hours are proportional to its inverse). Peaks: {sources}."
    )
    return as_markdown(pd.DataFrame(columns), title="Hours", note=note)


def _sharing(found: Outlook, recipe: Recipe, gpus: Mapping[str, Gpu]) -> str:
    rows = []
    for short, gpu in gpus.items():
        rows += [_sharing_row(gpu, one, recipe.training.batch_cells) for one in found.hours[short]]
    note = (
        f"Computed: embeddings gathered once, gradients summed once, by rings; machines of {PER_NODE} GPUs, "
        f"{found.network_gbit_s:g} Gbit/s between them (an assumption). The slowest GPU happens to have the longest "
        f"cells; with few cells of each, a chunk of {recipe.training.chunk_tokens:,} tokens pads them to the longest."
    )
    return as_markdown(pd.DataFrame(rows), title="Sharing a batch", note=note)


def _sharing_row(gpu: Gpu, one: Parallel, batch_cells: int) -> dict[str, str]:
    return {
        "GPU": gpu.title,
        "GPUs": str(one.n),
        "cells of each": f"{batch_cells / one.n:g}",
        "MB sent by each": f"{one.sent_bytes / 1e6:,.0f}",
        "step, ms": f"{one.step_seconds * 1e3:,.0f}",
        "of it talking, ms": f"{one.communication_seconds * 1e3:,.1f}",
        "talking": f"{one.communication_fraction:.2%}",
        "slowest over mean": f"{one.imbalance:.2f}",
        "padding": f"{one.padding_fraction:.1%}",
    }


def _calibrated(found: Outlook) -> str:
    timed, one = found.calibration, found.calibrated
    assert timed is not None
    assert one is not None
    size = f"{timed.n_cells} cells, {timed.n_tokens:,} tokens, chunks of {timed.chunk_tokens:,}"
    rows = [
        ("timed", f"{timed.n_steps} steps of {size}"),
        ("GFLOP/s", f"{1e-9 / timed.seconds_per_operation:,.1f}"),
        ("clipping and AdamW, ms a step", f"{timed.optimiser_seconds * 1e3:,.1f}"),
        ("seconds a step", f"{one.step_seconds:,.3g}"),
        ("hours of all steps", f"{one.hours:,.3g}"),
    ]
    what = f"Calibrated on {timed.device}, threads of torch: {timed.threads}"
    return as_markdown(_table(rows, "what", "how much"), title="On the device at hand", note=f"{what}.")


def _disk(found: Outlook) -> str:
    disk = found.disk
    all_bytes = disk.checkpoint * disk.n_checkpoints
    rows = [
        ("shards", _gb(disk.shards)),
        (f"checkpoints, {disk.n_checkpoints} of {_gb(disk.checkpoint)}", _gb(all_bytes)),
        ("encoder", _gb(disk.encoder)),
    ]
    return as_markdown(_table(rows, "what", "GB"), title="Disk", note="Computed, GB.")


def _table(rows: list[tuple[str, str]], *columns: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns))


def _three(number: float) -> str:
    """Show three digits, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / GB:,.3f}" if n_bytes < 10 * GB else f"{n_bytes / GB:,.1f}"
