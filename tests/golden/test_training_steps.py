"""Ten training steps on a CPU, with the losses they always had; a refactor leaves these numbers alone.

To record them anew after a change that is meant to move them, and only then:
`PYTHONPATH=src python tests/golden/test_training_steps.py`
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from celllm.config import recipe as recipes
from celllm.corpus.memory import MemoryCorpus
from celllm.pretrain.run import pretrain

RECORDED = Path(__file__).with_name("training_steps.json")
LOSSES = ("loss", "masked", "contrastive", "malignancy")


def golden_corpus() -> MemoryCorpus:
    """Forty cells that need no file."""
    # arithmetic in place of a generator: these counts are the same with every version of numpy
    cell, gene = np.meshgrid(np.arange(40), np.arange(60), indexing="ij")
    counts = csr_matrix(((cell * 7 + gene * 13 + cell * gene * 3) % 11 % 7).astype(np.float32))
    return MemoryCorpus(counts, "vocabulary", (np.arange(40) % 3 - 1).astype(np.int8))


def course(variant: str) -> list[dict[str, float | None]]:
    recipe = recipes.parse(
        {
            "tokens": {"max_length": 32, "target_sum": 200},
            "genes": {"method": "random"},
            "encoder": {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "attention": variant},
            "optimiser": {"learning_rate": 0.005, "warmup_fraction": 0.2},
            "training": {"batch_cells": 12, "chunk_tokens": 160, "steps": 10, "redraw_every": 4, "log_every": 1},
        },
        file="golden recipe",
    )
    table = np.sin(np.arange(60 * 16, dtype=np.float32) * 1.7).reshape(60, 16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        history = pretrain(recipe, golden_corpus(), gene_embedding=table, gene_digest="golden", seed=0).history
    finally:
        torch.set_num_threads(threads)
    return [{name: row[name] for name in LOSSES} for row in history]


@pytest.mark.parametrize("variant", ["favor", "softmax"])
def test_ten_steps_have_the_recorded_losses(variant: str) -> None:
    recorded = json.loads(RECORDED.read_text())[variant]
    for step, (found, expected) in enumerate(zip(course(variant), recorded, strict=True), start=1):
        for name in LOSSES:
            assert found[name] == pytest.approx(expected[name], rel=1e-5), f"step {step}, {name}"


if __name__ == "__main__":
    RECORDED.write_text(json.dumps({variant: course(variant) for variant in ("favor", "softmax")}, indent=1) + "\n")
