"""What `celllm plan` prints, for recipes by name and by file, with and without a corpus."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from celllm.base.errors import InputError
from celllm.pretrain.commands import plan

N_CELLS = 50


@pytest.fixture(name="recipe")
def recipe_fixture(tmp_path):
    values = {
        "tokens": {"max_length": 24, "target_sum": 100},
        "genes": {"method": "random"},
        "encoder": {"width": 16, "depth": 1, "heads": 2, "head_width": 8},
        "training": {"batch_cells": 16, "chunk_tokens": 128, "steps": 400},
    }
    path = tmp_path / "planned.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(name="shards")
def shards_fixture(training):
    return training.path / "manifest.json", np.diff(training.cells.X.indptr)


def as_json(capsys, *argv):
    plan.main([*map(str, argv), "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_recipe_is_found_by_its_name_and_every_block_is_told(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    plan.main(["--recipe", "smoke", "--gpu", "h100", "a100", "--gpus", "1", "8", "16"])
    told = capsys.readouterr().out
    for block in ("Recipe smoke", "Memory by chunk budget", "Hours", "Sharing a batch", "Disk"):
        assert f"## {block}\n" in told
    assert "Computed, not measured" in told
    assert "an assumption, no GPU was seen" in told
    assert "On the device at hand" not in told


def test_json_holds_the_same_by_name(recipe, capsys):
    found = as_json(capsys, "--recipe", recipe, "--gpu", "h100", "--gpus", 1, 2, "--cells", 800, "--genes", 100)
    assert found["recipe"] == str(recipe)
    assert found["n_cells"] == 800
    assert found["epochs"] == 400 * 16 / 800
    assert [one["n"] for one in found["hours"]["h100"]] == [1, 2]
    assert found["hours"]["h100"][0]["hours"] == pytest.approx(found["hours"]["h100"][0]["step_seconds"] * 400 / 3600)
    assert found["calibration"] is None
    assert found["memory_cpu"] == []


def test_lengths_cells_and_size_are_those_of_the_shards(recipe, shards, capsys):
    manifest, expressed = shards
    found = as_json(capsys, "--recipe", recipe, "--gpu", "h100", "--shards", manifest)
    assert (found["n_cells"], found["n_genes"]) == (N_CELLS, 40)
    tokens = np.minimum(expressed + 1, 24)
    assert tokens.min() <= found["tokens"]["mean"] <= tokens.max()
    assert found["tokens"]["mean"] == pytest.approx(tokens.mean(), rel=0.05)
    parts = [file for file in manifest.parent.iterdir() if file.name.startswith("shard-")]
    assert found["disk"]["shards"] == sum(file.stat().st_size for file in parts)


def test_without_a_gpu_the_device_at_hand_is_timed(recipe, shards, capsys):
    manifest, _ = shards
    plan.main(["--recipe", str(recipe), "--shards", str(manifest), "--seconds", "1"])
    told = capsys.readouterr().out
    assert "Calibrated on cpu, threads of torch: 1" in told
    assert "## Memory of a process on a CPU\n" in told
    assert "## Hours" not in told


def test_another_budget_takes_the_place_of_the_recipes(recipe, capsys):
    found = as_json(capsys, "--recipe", recipe, "--gpu", "h100", "--chunk-tokens", 2_000)
    assert 2_000 in [row["chunk_tokens"] for row in found["memory"]]
    with pytest.raises(InputError, match=r"training\.chunk_tokens"):
        plan.main(["--recipe", str(recipe), "--gpu", "h100", "--chunk-tokens", "0"])


def test_an_unknown_recipe_is_refused_with_a_suggestion(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(InputError, match=r"(?s)smoke.*did you mean paper\?"):
        plan.main(["--recipe", "papr", "--gpu", "h100"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"folder that holds config/recipes"):
        plan.main(["--recipe", "paper", "--gpu", "h100"])


def test_an_unknown_gpu_is_refused_before_anything_is_computed(recipe):
    with pytest.raises(InputError, match=r"did you mean h100\?"):
        plan.main(["--recipe", str(recipe), "--gpu", "h10"])
