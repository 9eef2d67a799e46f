"""`perf/gpu.py`, which a person with a GPU runs, runs without one too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_its_figures_are_all_there_on_a_cpu(root: Path) -> None:
    command = [sys.executable, "perf/gpu.py", "--tiny", "--json", "--device", "cpu"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    figures = {figure["name"]: figure["value"] for figure in map(json.loads, done.stdout.splitlines())}
    kinds = [f"encoder_{attention}" for attention in ("favor", "softmax", "none")]
    expected = {f"{what}_{precision}" for what in ("product", *kinds) for precision in ("fp32", "tf32", "bf16")}
    assert set(figures) == expected | {"step_chunked", "step_full-batch", "step_overhead"}
    assert min(figures.values()) > 0
