"""`perf/gpu.py`, which a person with a GPU runs, runs without one too."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch


def test_its_figures_are_all_there_on_a_cpu(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "perf")
    gpu, before = importlib.import_module("gpu"), torch.backends.cuda.matmul.allow_tf32
    figures = {figure["name"]: figure["value"] for figure in gpu.figures(gpu.TINY, torch.device("cpu"))}
    torch.backends.cuda.matmul.allow_tf32 = before
    kinds = [f"encoder_{attention}" for attention in ("favor", "softmax", "none")]
    expected = {f"{what}_{precision}" for what in ("product", *kinds) for precision in ("fp32", "tf32", "bf16")}
    assert set(figures) == expected | {"step_chunked", "step_full-batch", "step_overhead"}
    assert min(figures.values()) > 0
