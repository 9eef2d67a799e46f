"""What fine-tuning in the benchmark will take on GPUs, computed before it runs: hours of every job with an encoder.

Methods without an encoder run on CPUs and are not counted. Shapes: L tokens a cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from celllm.base.errors import InputError
from celllm.bench.methods.frozen import MAX_KEPT_SHARE
from celllm.config.catalogue import Runs
from celllm.config.recipe import Recipe
from celllm.config.recipe_encoder import EncoderSettings
from celllm.config.settings import FitBudget
from celllm.config.tables import Method, Task
from celllm.pretrain.flops import Probe, probe
from celllm.pretrain.gpus import Gpu, gpu_seconds

DEFAULT_SIZE = (10_000, 1_618)
"""Cells and mean tokens of a data set that nothing is said of: the mean of the paper's corpus."""


@dataclass(frozen=True)
class Uses:
    """How often a job encodes a cell: by frozen layers, by the others, and with gradients."""

    frozen: float
    forwards: float
    backwards: float


def uses_of(task: Task, method: Method, runs: Runs, budget: FitBudget, *, n: int, trials: int, n_kept: float) -> Uses:
    """Count how many cells, or lines, a job encodes; a fit that ends early for want of patience takes less.

    The data set has `n` cells, and of `n_kept` the frozen layers' output is kept for the whole job. `trials`:
    combinations of options on a split, where they are chosen.
    """
    is_fitted = method.module.startswith("celllm.")
    n_runs = len(runs.splits) * len(runs.seeds)
    if not is_fitted:  # a classifier on the frozen embedding: each cell once a job
        return Uses(n, n, 0)
    options = method.under(task.protocol).options
    is_compat = task.protocol == "compat"
    n_train, n_validation = task.train * n, (task.test if is_compat else task.validation) * n
    passes = min(budget.epochs, budget.cells / n_train) if task.kind == "classification" else budget.epochs
    n_checks = min(budget.checks, passes) if n_validation else 0
    if options.get("epochs") is not None:
        passes = n_checks = options["epochs"]
    n_fits = n_runs * (trials if task.validation and not is_compat else 1)
    n_test = (task.test or 1 / max(2, len(task.split_seeds))) * n
    shown = n_fits * passes * n_train
    asked = n_fits * n_checks * n_validation + n_runs * n_test
    is_frozen = options.get("mode", "last_layer") == "last_layer"
    frozen = n_kept + (1 - n_kept / n) * (shown + asked) if is_frozen else shown + asked
    return Uses(frozen, shown + asked, shown)


@lru_cache(maxsize=64)
def _probed(settings: EncoderSettings, length: int) -> Probe:
    return probe(settings, length=length, queries=length, precision="bf16-mixed")


def hours_of(recipe: Recipe, method: Method, uses: Uses, gpu: Gpu, *, length: int, efficiency: float) -> float:
    """Return the hours of a job on one GPU, at a share of its peaks."""
    one = _probed(recipe.encoder, length)
    on = {"efficiency": efficiency}
    training = recipe.training.model_copy(update={"precision": "bf16-mixed"})  # as fits on a GPU have it
    mixed = recipe.model_copy(update={"training": training})
    forward_s = gpu_seconds(mixed, gpu, one.forwards, one.forward_traffic, **on)
    backward_s = gpu_seconds(mixed, gpu, one.backwards, one.traffic - one.forward_traffic, **on)
    depth = recipe.encoder.depth
    n_trained = {"full": depth, "lora": depth}.get(method.options.get("mode", "last_layer"), 1)
    n_trained = min(depth, n_trained + (method.options.get("layer") == "second_last"))
    share = n_trained / depth
    trained_s = uses.forwards * forward_s + uses.backwards * backward_s
    return (uses.frozen * forward_s * (1 - share) + trained_s * share) / 3600


def plan(
    runs: Mapping[str, Mapping[str, Runs]],
    *,
    tasks: Mapping[str, Task],
    methods: Mapping[str, Method],
    recipes: Mapping[str, Recipe],
    budget: FitBudget,
    trials: int,
    sizes: Mapping[str, tuple[int, int]],
    gpu: Gpu,
    efficiency: float,
) -> pd.DataFrame:
    """Compute the hours of every job that starts from a pretrained encoder, at a share (`efficiency`) of a GPU's peaks.

    `recipes` are by encoder; `sizes` by data set: cells (or lines), and mean tokens a cell. Returns columns task,
    method, runs, hours on one GPU.
    """
    rows = []
    for name, of_task in runs.items():
        task = tasks[name]
        n, length = sizes.get(task.dataset, DEFAULT_SIZE)
        for method_name, of_method in of_task.items():
            method = methods[method_name]
            if method.encoder is None or method.encoder not in recipes:
                continue
            recipe = recipes[method.encoder]
            longest = recipe.tokens.max_length
            tokens = longest if recipe.tokens.layout == "full" else min(length, longest)
            n_kept = min(n, MAX_KEPT_SHARE * gpu.memory_gb * 1e9 / (tokens * (4 * recipe.encoder.width + 16)))
            uses = uses_of(task, method, of_method, budget, n=n, trials=trials, n_kept=n_kept)
            hours = hours_of(recipe, method, uses, gpu, length=tokens, efficiency=efficiency)
            rows.append((name, method_name, len(of_method.splits) * len(of_method.seeds), hours))
    return pd.DataFrame(rows, columns=["task", "method", "runs", "hours"])


def wall_hours(hours: Sequence[float], n_gpus: int) -> float:
    """Return the hours of jobs on several GPUs, a job on one: their sum over the GPUs, or the longest job."""
    return max(math.fsum(hours) / n_gpus, max(hours, default=0.0))


def size_of(text: str) -> tuple[str, tuple[int, int]]:
    """Read DATASET=CELLSxTOKENS; InputError if it is of another form."""
    matched = re.fullmatch(r"(\w+)=(\d+)x(\d+)", text)
    if matched is None:
        raise InputError(
            file="command line",
            field="--size",
            expected="DATASET=CELLSxTOKENS, such as zheng68k=68450x526",
            found=text,
            remedy="correct it",
        )
    name, cells, tokens = matched.groups()
    return name, (int(cells), int(tokens))
