"""What `celllm plan` prints, with and without a corpus."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.pretrain.commands import plan


@pytest.fixture(name="recipe")
def recipe_fixture(tiny_recipe: Any) -> Any:
    return tiny_recipe(encoder={"depth": 1}, training={"batch_cells": 16, "chunk_tokens": 128, "steps": 400})


@pytest.fixture(name="printed")
def printed_fixture(recipe: Any, capsys: Any) -> Any:
    def printed(**options: Any) -> Any:
        plan(**{"recipe": recipe, "gpu": ["h100"], "gpus": [1], **options})
        text = capsys.readouterr().out
        return json.loads(text) if options.get("json") else text

    return printed


def test_every_block_is_printed(printed: Any) -> None:
    text = printed(gpu=["h100", "a100"], gpus=[1, 8, 16])
    for block in ("Run", "Memory by chunk budget", "Hours", "Disk"):
        assert f"## {block}\n" in text
    assert "Computed, not measured" in text
    assert "On the device at hand" not in text


def test_json_holds_the_same_by_name(printed: Any, recipe: Any) -> None:
    found = printed(gpus=[1, 2], cells=800, genes=100, json=True)
    assert found["digest"] == recipe.digest
    assert found["n_cells"] == 800
    assert found["epochs"] == 400 * 16 / 800
    assert found["hours"]["h100"]["1"] == pytest.approx(found["step_s"]["h100"] * 400 / 3600)
    assert found["hours"]["h100"]["2"] == pytest.approx(found["hours"]["h100"]["1"] / 2)
    assert found["timing"] is None
    assert found["memory_cpu"] is None


def test_lengths_cells_and_size_are_those_of_the_shards(printed: Any, training: Any) -> None:
    found = printed(shards=training.path / "manifest.json", json=True)
    assert (found["n_cells"], found["n_genes"]) == (50, 40)
    tokens = np.minimum(np.diff(training.cells.X.indptr) + 1, 24)
    assert found["tokens"]["mean"] == pytest.approx(tokens.mean(), rel=0.05)
    parts = [file for file in training.path.iterdir() if file.name.startswith("shard-")]
    assert found["disk"]["shards"] == sum(file.stat().st_size for file in parts)


def test_without_a_gpu_the_device_at_hand_is_timed(printed: Any) -> None:
    text = printed(gpu=None, genes=100, seconds=0.5)
    assert "timed on cpu, threads of torch: 1" in text
    assert "memory of a process, GB" in text
    assert "## Hours" not in text


def test_another_budget_takes_the_place_of_the_recipes(printed: Any) -> None:
    found = printed(chunk_tokens=2_000, json=True)
    assert 2_000 in [row["chunk_tokens"] for row in found["memory"]]
    with pytest.raises(InputError, match=r"training\.chunk_tokens"):
        printed(chunk_tokens=0)


def test_an_unknown_gpu_is_refused(printed: Any) -> None:
    with pytest.raises(InputError, match=r"did you mean h100\?"):
        printed(gpu=["h10"])
