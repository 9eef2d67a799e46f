"""An estimate's numbers beside what the code that it speaks of really makes, multiplies, holds and writes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from celllm.base.errors import InputError
from celllm.base.provenance import stamp
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.model.encoder import Encoder
from celllm.model.store import save_encoder
from celllm.pretrain import measure
from celllm.pretrain.chunks import by_tokens
from celllm.pretrain.estimate import (
    USABLE,
    chunk_cost,
    disk_of,
    estimate,
    max_budget,
    memory_of,
    parameters_of,
)
from celllm.pretrain.flops import Flops, encoding_flops, probe, step_flops
from celllm.pretrain.gpus import GPUS, gpu_of, gpu_seconds
from celllm.pretrain.run import pretrain
from celllm.pretrain.step import StepLoss
from celllm.pretrain.synthetic import (
    MEAN_EXPRESSED,
    CorpusSize,
    as_tokens,
    synthetic_batch,
    synthetic_expressed,
    synthetic_lengths,
    synthetic_module,
)

CPU = torch.device("cpu")
CELLS = CorpusSize(n_cells=1_000, n_genes=40, expressed=np.arange(5, 31))


@pytest.fixture(name="paper", scope="module")
def paper_fixture() -> Recipe:
    return recipes.read(Path(__file__).parents[2] / "config/recipes/paper.yaml")


def test_the_papers_encoder_has_the_papers_parameters_and_ours_a_mask_token_and_a_head_more(paper: Recipe) -> None:
    published, _ = parameters_of(paper, 19_379, n_tokens=8)
    assert (published.total, published.gene_embedding) == (51_926_536, 9_923_072)
    ours, whole = parameters_of(paper, 19_379)
    assert ours.total - published.total == 512 + 513  # its embedding, and a row of the output layer
    assert whole.total - ours.total == 513  # tumour or normal
    assert whole.trained == whole.total - whole.gene_embedding


def test_a_learned_gene_embedding_is_trained(tiny_recipe: Any) -> None:
    frozen, learned = (parameters_of(tiny_recipe(genes={"trainable": t}), 40)[1] for t in ("frozen", "trained"))
    assert frozen.total == learned.total
    assert learned.trained - frozen.trained == 42 * 16


@pytest.mark.parametrize(
    ("objectives", "encoder"),
    [
        ({}, {}),
        ({"shared_masked_view": True}, {}),
        ({"contrastive": {"weight": 0}}, {}),
        ({"masked": {"weight": 0}, "malignancy": {"weight": 0}}, {}),
        ({"malignancy": {"weight": 0}, "contrastive": {"symmetric": True}}, {}),
        ({}, {"pooling": "mean"}),
        ({"shared_masked_view": True}, {"pooling": "mean"}),
        ({}, {"attention": "none"}),
    ],
)
@pytest.mark.parametrize("keep_tokens", [0, 80, 1000])
def test_a_steps_flops_are_those_that_torch_counts_in_a_real_step(
    tiny_recipe: Any, objectives: dict[str, Any], encoder: dict[str, Any], keep_tokens: int
) -> None:
    recipe = tiny_recipe(objectives=objectives, encoder=encoder, training={"keep_tokens": keep_tokens})
    lengths, targets = np.array([9, 24, 17, 12, 20]), np.array([1, 3, 2, 1, 3])
    targets *= recipe.objectives.masked.weight > 0
    module, settings = synthetic_module(recipe, 40, device=CPU), {"max_tokens": 40, "keep_tokens": keep_tokens}
    step = StepLoss(module, recipe.objectives, **settings, autocast=nullcontext)
    with FlopCounterMode(display=False) as counted:
        step.accumulate(synthetic_batch(lengths, targets, n_genes=40, device=CPU), health=False)
    flops = step_flops(recipe, lengths, targets, by_tokens(lengths, 40))
    is_contrasted = recipe.objectives.contrastive.weight > 0
    unseen = 2 * 16 * len(lengths) ** 2 * is_contrasted  # InfoNCE's product in place, which the counter does not know
    assert counted.get_total_flops() == flops.total - unseen


def test_softmax_attention_is_counted_like_the_fused_kernel(tiny_recipe: Any) -> None:
    """Torch does not count its own attention on a CPU, which alone is of the size of two lengths."""
    settings = tiny_recipe(encoder={"attention": "softmax", "depth": 3}).encoder
    encoder = Encoder(settings, n_genes=40, gene_embedding=torch.randn(40, 16)).train()
    with FlopCounterMode(display=False) as counted:
        encoder.embed(torch.randint(0, 40, (1, 17)), torch.randint(0, 6, (1, 17))).sum().backward()
    forwards, backwards = encoding_flops(settings, 17, 1)
    fused = 2 * 2 * 8 * 7 * (2 * 17 * 17 + 17)  # 2 heads of 8; 2 products forwards and 5 back
    assert forwards.total + backwards.total == counted.get_total_flops() + fused
    assert forwards.float32 == backwards.float32 == 0


def test_a_kept_chunk_saves_a_pass(tiny_recipe: Any) -> None:
    recipe = tiny_recipe(objectives={"masked": {"weight": 0}, "malignancy": {"weight": 0}})
    lengths, targets = np.full(6, 20), np.zeros(6, dtype=int)
    one, two = (step_flops(recipe, lengths, targets, chunks) for chunks in ([slice(0, 6)], [slice(0, 3), slice(3, 6)]))
    assert two.total - one.total == 3 * encoding_flops(recipe.encoder, 20, 1)[0].total


def test_the_memory_of_a_chunk_is_that_of_the_tensors_that_a_real_step_holds(tiny_recipe: Any) -> None:
    recipe = tiny_recipe(encoder={"width": 32, "depth": 6})
    module = synthetic_module(recipe, 40, device=CPU)
    own = {tensor.untyped_storage().data_ptr() for tensor in [*module.parameters(), *module.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    view = synthetic_batch(np.full(1, 400), np.full(1, 60), n_genes=40, device=CPU).plain()[slice(0, 1)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module.encoder.embed(view["genes"], view["bins"])
    # the graph is most of the peak, and less than it
    assert 0.5 < sum(kept.values()) / probe(recipe.encoder, length=400, layout="cpu").peak_bytes < 1


def test_16_bits_take_less_memory_a_token_and_favor_on_a_gpu_more(tiny_recipe: Any) -> None:
    whole, half = (
        tiny_recipe(encoder={"head_width": 64}, training={"precision": p}) for p in ("32-true", "bf16-mixed")
    )
    assert chunk_cost(half, 100).token_bytes < chunk_cost(whole, 100).token_bytes
    assert chunk_cost(whole, 2000, layout="cpu").token_bytes < chunk_cost(whole, 2000).token_bytes


def test_memory_rises_with_the_budget_and_the_largest_that_fits_just_fits(tiny_recipe: Any) -> None:
    recipe = tiny_recipe()
    cost = chunk_cost(recipe, 20)
    rows = [memory_of(recipe, CELLS, cost, budget) for budget in (1_024, 2_048, 8_192, 65_536)]
    assert np.all(np.diff([row.device for row in rows]) > 0)
    assert rows[0].device == sum(
        (rows[0].weights, rows[0].gradients, rows[0].optimiser, rows[0].embeddings, rows[0].chunk)
    )
    limit = 200e6
    fitting = max_budget(rows[0], cost, limit_bytes=limit)
    fits, not_fits = (memory_of(recipe, CELLS, cost, n).device for n in (fitting, fitting + 1024))
    assert fits <= USABLE * limit < not_fits
    assert max_budget(rows[0], cost, limit_bytes=1e5) == 0


def test_a_cell_longer_than_the_budget_sets_the_memory(tiny_recipe: Any) -> None:
    cost = chunk_cost(tiny_recipe(), 20)
    below, longest, above = (memory_of(tiny_recipe(), CELLS, cost, n).chunk for n in (10, 24, 30))
    assert below == longest < above


def test_hours_fall_with_efficiency_and_with_the_number_of_gpus(tiny_recipe: Any) -> None:
    recipe = tiny_recipe(training={"batch_cells": 64})
    half, whole = (
        estimate(recipe, CELLS, gpus=["h100"], counts=[1, 8], efficiency=share).hours["h100"] for share in (0.5, 1.0)
    )
    assert half[1] == pytest.approx(2 * whole[1])
    assert half[8] == pytest.approx(half[1] / 8)


def test_each_kind_of_work_has_its_own_peak(tiny_recipe: Any) -> None:
    single, half = (tiny_recipe(training={"precision": p}) for p in ("32-true", "bf16-mixed"))
    gpu = GPUS["h100"]
    flops = Flops(mixed=int(989.4e12), float32=int(67e12))
    assert gpu_seconds(half, gpu, flops, 3_350e9, efficiency=1.0) == pytest.approx(3)
    assert gpu_seconds(single, gpu, flops, 0.0, efficiency=0.5) == pytest.approx(2 * (989.4 / 67 + 1))


def test_synthetic_cells_are_as_long_as_those_of_the_corpus() -> None:
    expressed = synthetic_expressed(100_000)
    assert expressed.mean() == pytest.approx(MEAN_EXPRESSED, rel=0.02)
    assert np.percentile(expressed, [25, 50, 75]) == pytest.approx([983, 1_401, 1_995], rel=0.03)
    assert synthetic_lengths(100, max_length=500).max() == 500


def test_tokens_are_cut_and_a_panel_has_one_length(tiny_recipe: Any) -> None:
    lengths, candidates = as_tokens(tiny_recipe(), CELLS)
    assert (lengths.min(), lengths.max()) == (6, 24)
    assert (candidates == lengths - 1).all()
    full = tiny_recipe(tokens={"layout": "full", "panel_size": 12})
    lengths, candidates = as_tokens(full, CELLS)
    assert set(lengths) == {13}
    assert candidates.max() == 30 * 12 // 40
    tokens = estimate(tiny_recipe(), CELLS).tokens
    assert tokens["cut_fraction"] == pytest.approx(np.mean(CELLS.expressed + 1 > 24))


def test_files_are_as_large_as_the_estimate_says(
    tiny_recipe: Any, corpus: Any, gene_embedding: np.ndarray, tmp_path: Path
) -> None:
    recipe = tiny_recipe(encoder={"width": 64}, training={"steps": 1, "validation_cells": 5})
    table = np.zeros((40, 64), dtype=np.float32)
    result = pretrain(
        recipe, corpus, gene_embedding=table, gene_digest="g", seed=0, checkpoints=tmp_path / "checkpoints"
    )
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
    tiny_recipe: Any, monkeypatch: pytest.MonkeyPatch, seconds: float, n_cells: int
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


def test_steps_that_are_really_timed_take_time(tiny_recipe: Any) -> None:
    lengths = np.full(8, 20)
    timed = measure.time_steps(tiny_recipe(), lengths, lengths // 8, n_genes=40, seconds=0.1, device=CPU)
    assert timed.seconds_per_flop > 0
    assert timed.optimiser_s > 0
    assert timed.device == "cpu"


def test_a_released_encoder_is_not_estimated(tiny_recipe: Any) -> None:
    with pytest.raises(InputError, match=r"(?s)favor, softmax or none.*train with favor"):
        estimate(tiny_recipe(encoder={"attention": "released"}), CELLS)


def test_an_unknown_gpu_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"did you mean h100\?"):
        gpu_of("H1000")
    with pytest.raises(InputError, match=r"data sheet"):
        gpu_of("abacus")


@pytest.mark.parametrize(
    "options", [{"counts": [0]}, {"counts": [15]}, {"efficiency": 0.0}, {"efficiency": 1.5}], ids=str
)
def test_counts_and_shares_out_of_range_are_refused(tiny_recipe: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        estimate(tiny_recipe(), CELLS, gpus=["h100"], **options)
