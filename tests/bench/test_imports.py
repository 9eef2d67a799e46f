"""What stands still before a cheap method starts: its imports."""

from __future__ import annotations

import subprocess
import sys

from celllm.config import tables

# torch takes seconds and scanpy more, which is longer than most of these methods take to fit
SLOW = {"torch", "scanpy", "matplotlib", "openpyxl", "rdkit", "torch_geometric"}
PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sys.modules)
"""


def _imported(root, *modules):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *modules],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin"},
    )
    return set(done.stdout.split())


def test_classifiers_without_an_encoder_import_nothing_slow(root):
    rows = tables.read_methods(root / "config/methods.tsv")
    without = [row for row in rows if row.kind == "classification" and row.encoder in (None, tables.COMPONENTS)]
    cheap = {row.module.partition(":")[0] for row in without} | {"celllm.bench.methods.estimators"}
    assert len(cheap) > 3

    assert not SLOW & _imported(root, "celllm.bench.job", "celllm.bench.scores", *cheap)


def test_what_counts_as_slow_is_seen_where_it_is_imported(root):
    assert "torch" in _imported(root, "celllm.bench.methods.annotation")
