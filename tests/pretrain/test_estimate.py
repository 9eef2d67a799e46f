"""An estimate's numbers beside what the code that it speaks of really makes, multiplies, holds and writes."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import made_corpus, tiny_recipe
from torch.utils.flop_counter import FlopCounterMode

from celllm.base.errors import InputError
from celllm.base.provenance import stamp
from celllm.config import recipe as recipes
from celllm.model.store import save_encoder
from celllm.pretrain import measure
from celllm.pretrain.chunks import by_tokens
from celllm.pretrain.commands import plan
from celllm.pretrain.estimate import USABLE, chunk_cost, disk_of, estimate, max_budget, memory_of, parameters_of
from celllm.pretrain.flops import Flops, encoding_flops, probe, step_flops
from celllm.pretrain.gpus import GPUS, gpu_of, gpu_seconds
from celllm.pretrain.run import pretrain
from celllm.pretrain.step import StepLoss
from celllm.pretrain.synthetic import (
    CPU,
    MEAN_EXPRESSED,
    CorpusSize,
    as_tokens,
    synthetic_batch,
    synthetic_encoder,
    synthetic_expressed,
    synthetic_lengths,
    synthetic_module,
)

CELLS = CorpusSize(n_cells=1_000, n_genes=40, expressed=np.arange(5, 31))
SHARED = {"shared_masked_view": True}
ALONE = {"masked": {"weight": 0}, "malignancy": {"weight": 0}}


def test_the_papers_encoder_has_the_papers_parameters_and_ours_a_mask_token_and_a_head_more(root: Path) -> None:
    paper = recipes.read(root / "config/recipes/paper.yaml")
    ours, whole = parameters_of(paper, 19_379)
    assert ours.gene_embedding == 9_923_072
    assert ours.total - 51_926_536 == 512 + 513  # MASK's embedding, and a row of the output layer
    assert whole.total - ours.total == 513  # tumour or normal
    assert ours.buffers == 10 * 266 * 64  # int(64 ln 64) random features a layer
    assert whole.trained == whole.total - whole.gene_embedding
    frozen, learned = (parameters_of(tiny_recipe(genes={"trainable": t}), 40)[1] for t in ("frozen", "trained"))
    assert learned.trained - frozen.trained == 42 * 16


@pytest.mark.parametrize(
    ("objectives", "encoder", "keep_tokens"),
    [
        ({}, {}, 0),
        ({}, {}, 80),
        ({}, {}, 1000),
        (SHARED, {}, 0),
        (SHARED, {}, 1000),
        ({"contrastive": {"weight": 0}}, {}, 80),
        (ALONE, {}, 80),
        ({"malignancy": {"weight": 0}, "contrastive": {"symmetric": True}}, {}, 0),
        ({}, {"pooling": "mean"}, 80),
        (SHARED, {"pooling": "mean"}, 80),
        ({}, {"attention": "none"}, 80),
    ],
    ids=str,
)
def test_a_steps_flops_are_those_that_torch_counts_in_a_real_step(
    objectives: dict[str, Any], encoder: dict[str, Any], keep_tokens: int
) -> None:
    recipe = tiny_recipe(objectives=objectives, encoder=encoder, training={"keep_tokens": keep_tokens})
    lengths, targets = np.array([9, 24, 17, 12, 20]), np.array([1, 3, 2, 1, 3])
    targets *= recipe.objectives.masked.weight > 0
    module, settings = synthetic_module(recipe, 40), {"max_tokens": 40, "keep_tokens": keep_tokens}
    step = StepLoss(module, **settings, autocast=nullcontext)
    with FlopCounterMode(display=False) as counted:
        step.accumulate(synthetic_batch(lengths, targets, n_genes=40), health=False)
    flops = step_flops(recipe, lengths, targets, by_tokens(lengths, 40))
    is_contrasted = recipe.objectives.contrastive.weight > 0
    unseen = 2 * 16 * len(lengths) ** 2 * is_contrasted  # InfoNCE's product in place, which the counter does not know
    assert counted.get_total_flops() == flops.total - unseen


def test_softmax_attention_is_counted_like_the_fused_kernel() -> None:
    """Torch does not count its own attention on a CPU, which alone is of the size of two lengths."""
    settings = tiny_recipe(encoder={"attention": "softmax", "depth": 3}).encoder
    encoder = synthetic_encoder(settings, 40)
    with FlopCounterMode(display=False) as counted:
        encoder.embed(torch.randint(0, 40, (1, 17)), torch.randint(0, 6, (1, 17))).sum().backward()
    forwards, backwards = encoding_flops(settings, 17, 1)
    fused = 2 * 2 * 8 * 7 * (2 * 17 * 17 + 17)  # 2 heads of 8; 2 products forwards and 5 back
    assert forwards.total + backwards.total == counted.get_total_flops() + fused
    assert forwards.float32 == backwards.float32 == 0


def test_the_memory_of_a_chunk_is_that_of_the_tensors_that_a_real_step_holds() -> None:
    recipe = tiny_recipe(encoder={"width": 32, "depth": 6})
    module = synthetic_module(recipe, 40)
    own = {tensor.untyped_storage().data_ptr() for tensor in [*module.parameters(), *module.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    view = synthetic_batch(np.full(1, 400), np.full(1, 60), n_genes=40).plain()[slice(0, 1)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module.encoder.embed(view["genes"], view["bins"])
    # the graph is most of the peak, and less than it
    assert 0.5 < sum(kept.values()) / probe(recipe.encoder, length=400, layout="cpu").peak_bytes < 1


def test_16_bits_take_less_memory_a_token_and_favor_on_a_gpu_more() -> None:
    whole, half = (
        tiny_recipe(encoder={"head_width": 64}, training={"precision": p}) for p in ("32-true", "bf16-mixed")
    )
    assert chunk_cost(half, 100).token_bytes < chunk_cost(whole, 100).token_bytes
    assert chunk_cost(whole, 2000, layout="cpu").token_bytes < chunk_cost(whole, 2000).token_bytes


def test_memory_rises_with_the_budget_and_the_largest_that_fits_just_fits() -> None:
    recipe = tiny_recipe()
    cost = chunk_cost(recipe, 20)
    rows = [memory_of(recipe, CELLS, cost, budget) for budget in (1_024, 2_048, 65_536)]
    assert np.all(np.diff([row.device for row in rows]) > 0)
    parts = ("weights", "gradients", "optimiser", "embeddings", "chunk")
    assert rows[0].device == sum(getattr(rows[0], part) for part in parts)
    limit = 200e6
    fitting = max_budget(rows[0], cost, limit_bytes=limit)
    fits, not_fits = (memory_of(recipe, CELLS, cost, n).device for n in (fitting, fitting + 1024))
    assert fits <= USABLE * limit < not_fits
    assert max_budget(rows[0], cost, limit_bytes=1e5) == 0
    # a cell longer than the budget sets the memory
    below, longest, above = (memory_of(recipe, CELLS, cost, n).chunk for n in (10, 24, 30))
    assert below == longest < above


def test_hours_fall_with_efficiency_and_with_the_number_of_gpus_and_each_kind_of_work_has_its_own_peak() -> None:
    recipe = tiny_recipe(training={"batch_cells": 64})
    half, whole = (
        estimate(recipe, CELLS, gpus=["h100"], counts=[1, 8], efficiency=share).hours["h100"] for share in (0.5, 1.0)
    )
    assert half[1] == pytest.approx(2 * whole[1])
    assert half[8] == pytest.approx(half[1] / 8)
    single, mixed = (tiny_recipe(training={"precision": p}) for p in ("32-true", "bf16-mixed"))
    flops = Flops(mixed=int(989.4e12), float32=int(67e12))
    assert gpu_seconds(mixed, GPUS["h100"], flops, 3_350e9, efficiency=1.0) == pytest.approx(3)
    assert gpu_seconds(single, GPUS["h100"], flops, 0.0, efficiency=0.5) == pytest.approx(2 * (989.4 / 67 + 1))


def test_synthetic_cells_are_as_long_as_those_of_the_corpus_and_are_cut_like_them() -> None:
    expressed = synthetic_expressed(100_000)
    assert expressed.mean() == pytest.approx(MEAN_EXPRESSED, rel=0.02)
    assert np.percentile(expressed, [25, 50, 75]) == pytest.approx([983, 1_401, 1_995], rel=0.03)
    assert synthetic_lengths(100, max_length=500).max() == 500
    lengths, candidates = as_tokens(tiny_recipe(), CELLS)
    assert (lengths.min(), lengths.max()) == (6, 24)
    assert (candidates == lengths - 1).all()
    assert estimate(tiny_recipe(), CELLS).tokens["cut_fraction"] == pytest.approx(np.mean(CELLS.expressed + 1 > 24))
    lengths, candidates = as_tokens(tiny_recipe(tokens={"layout": "full", "panel_size": 12}), CELLS)
    assert set(lengths) == {13}  # a panel has one length
    assert candidates.max() == 30 * 12 // 40


def test_files_are_as_large_as_the_estimate_says(tmp_path: Path) -> None:
    recipe = tiny_recipe(encoder={"width": 64}, training={"steps": 1, "validation_cells": 5})
    table = np.zeros((40, 64), dtype=np.float32)
    options = {"gene_embedding": table, "gene_digest": "g", "seed": 0, "checkpoints": tmp_path / "checkpoints"}
    result = pretrain(recipe, made_corpus(), **options)
    save_encoder(tmp_path / "encoder", result.encoder, recipe=recipe, vocabulary="v", stamp=stamp("pretrain-1"))
    disk = disk_of(recipe, replace(CELLS, shard_bytes=123))
    [checkpoint, *_] = (tmp_path / "checkpoints").glob("step*")
    assert checkpoint.stat().st_size == pytest.approx(disk.checkpoint, rel=0.05)
    assert (tmp_path / "encoder").stat().st_size == pytest.approx(disk.encoder, rel=0.05)
    assert disk.shards == 123
    assert disk_of(recipe, CELLS).shards == round(1_000 * CELLS.expressed.mean() * 4.02)
    last, best = (disk_of(tiny_recipe(training={"validation_cells": n}), CELLS).n_checkpoints for n in (0, 5))
    assert (last, best) == (3, 4)


class TimedLoss:
    """A step that takes a millisecond a token of a clock that stands still otherwise."""

    now = 0.0

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def accumulate(self, batch: Any, *, health: bool) -> None:
        TimedLoss.now += 1e-3 * len(batch.tokens_N)


@pytest.mark.parametrize(("seconds", "n_cells"), [(1, 6), (5, 12), (100, 32)])
def test_timed_steps_grow_until_they_fill_the_time_and_foretell_others(
    monkeypatch: pytest.MonkeyPatch, seconds: float, n_cells: int
) -> None:
    monkeypatch.setattr(measure, "StepLoss", TimedLoss)
    monkeypatch.setattr(measure, "step_flops", lambda _, lengths, *__: Flops(mixed=int(lengths.sum())))
    lengths = np.full(32, 90)
    options = {"n_genes": 40, "seconds": seconds, "device": CPU, "clock": lambda: TimedLoss.now}
    timed = measure.time_steps(tiny_recipe(), lengths, lengths // 8, **options)
    assert timed.seconds_per_flop == pytest.approx(1e-3)
    assert timed.step_s(5_000) == pytest.approx(5)  # clipping and AdamW take no time here
    assert timed.n_cells == n_cells
    assert timed.n_steps >= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counts": [0]}, "numbers from 1 to 14"),
        ({"counts": [15]}, "numbers from 1 to 14"),
        ({"efficiency": 0.0}, "above 0 and at most 1"),
        ({"efficiency": 1.5}, "above 0 and at most 1"),
        ({"gpus": ["h1000"]}, r"did you mean h100\?"),
        ({"gpus": ["abacus"]}, "data sheet"),
    ],
)
def test_what_cannot_be_estimated_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate(tiny_recipe(), CELLS, **options)
    with pytest.raises(InputError, match=r"(?s)favor, softmax or none.*train with favor"):
        estimate(tiny_recipe(encoder={"attention": "released"}), CELLS)
    assert gpu_of("h200").memory_gb == 141


RECIPE = tiny_recipe(encoder={"depth": 1}, training={"batch_cells": 16, "chunk_tokens": 128, "steps": 400})


def printed(capsys: Any, **options: Any) -> Any:
    plan(**{"recipe": RECIPE, "gpu": ["h100"], "gpus": [1], **options})
    text = capsys.readouterr().out
    return json.loads(text) if options.get("json") else text


def test_the_command_prints_every_block_and_without_a_gpu_times_the_device_at_hand(capsys: Any) -> None:
    text = printed(capsys, gpu=["h100", "a100"], gpus=[1, 8, 16])
    for block in ("Run", "Memory by chunk budget", "Hours", "Disk"):
        assert f"## {block}\n" in text
    assert "On the device at hand" not in text
    text = printed(capsys, gpu=None, genes=100, seconds=0.3)
    assert "timed on cpu, threads of torch: 1" in text
    assert "memory of a process, GB" in text
    assert "## Hours" not in text


def test_json_holds_the_same_by_name_and_lengths_cells_and_size_of_the_shards(capsys: Any, training: Any) -> None:
    found = printed(capsys, gpus=[1, 2], cells=800, genes=100, json=True)
    assert found["digest"] == RECIPE.digest
    assert found["epochs"] == 400 * 16 / 800
    assert found["hours"]["h100"]["1"] == pytest.approx(found["step_s"]["h100"] * 400 / 3600)
    assert found["hours"]["h100"]["2"] == pytest.approx(found["hours"]["h100"]["1"] / 2)
    assert found["timing"] is found["memory_cpu"] is None
    assert 128 in [row["chunk_tokens"] for row in found["memory"]]
    found = printed(capsys, shards=training.path / "manifest.json", json=True)
    assert (found["n_cells"], found["n_genes"]) == (50, 40)
    tokens = np.minimum(np.diff(training.cells.X.indptr) + 1, 24)
    assert found["tokens"]["mean"] == pytest.approx(tokens.mean(), rel=0.05)
    parts = [file for file in training.path.rglob("*") if file.name.startswith("shard-")]
    assert found["disk"]["shards"] == sum(file.stat().st_size for file in parts)
