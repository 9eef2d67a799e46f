"""A plan's numbers beside what the code that it speaks of really makes, multiplies, holds and writes."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from celllm.base.errors import InputError
from celllm.base.provenance import stamp
from celllm.config import recipe as recipes
from celllm.model.encoder import Encoder
from celllm.model.store import save_encoder
from celllm.pretrain import operations
from celllm.pretrain.calibrate import calibrate
from celllm.pretrain.chunks import by_tokens
from celllm.pretrain.drawn import drawn_batch, drawn_module
from celllm.pretrain.footprint import Watch, footprint
from celllm.pretrain.gpus import GPUS, gpu_of
from celllm.pretrain.hours import as_calibrated, demands, on_gpu, parallel, sent_bytes
from celllm.pretrain.lengths import drawn_lengths
from celllm.pretrain.run import pretrain
from celllm.pretrain.operations import Shape
from celllm.pretrain.outlook import outlook
from celllm.pretrain.plan import (
    USABLE,
    Cells,
    disk_of,
    drawn_batches,
    largest_budget,
    memory_of,
    parameters_of,
    tokens_of,
)
from celllm.pretrain.step import StepLoss

CPU = torch.device("cpu")
CELLS = Cells(n_cells=1_000, n_genes=40, expressed=np.arange(5, 31))


@pytest.fixture(name="paper")
def paper_fixture(root):
    return recipes.read(root / "config/recipes/paper.yaml")


def test_the_papers_encoder_has_the_papers_parameters_and_ours_a_mask_token_and_a_head_more(paper):
    published, _ = parameters_of(paper, 19_379, n_tokens=8)
    assert (published.total, published.gene_table) == (51_926_536, 9_923_072)
    ours, whole = parameters_of(paper, 19_379)
    assert ours.total - published.total == 512 + 513  # its embedding, and a row of the output layer
    assert whole.total - ours.total == 513  # tumour or normal
    assert whole.trained == whole.total - whole.gene_table


def test_a_learned_table_is_trained(tiny_recipe):
    frozen, learned = (parameters_of(tiny_recipe(genes={"method": m}), 40)[1] for m in ("random", "learned"))
    assert frozen.total == learned.total
    assert learned.trained - frozen.trained == 42 * 16


@pytest.mark.parametrize("queries", [1, 4, 17])
def test_favors_operations_are_those_that_torch_counts(tiny_recipe, queries):
    settings = tiny_recipe(encoder={"depth": 3}).encoder
    length, n_cells = 17, 2
    encoder = Encoder(settings, n_genes=40, gene_embedding=torch.randn(40, 16)).train()
    genes, bins = torch.randint(0, 40, (n_cells, length)), torch.randint(0, 6, (n_cells, length))
    with FlopCounterMode(display=False) as going_forwards:
        hidden = encoder.at(genes, bins, torch.arange(queries).expand(n_cells, queries))
    with FlopCounterMode(display=False) as going_back:
        hidden.sum().backward()
    expected = operations.work_of(operations.forwards(settings, length, queries)).total
    assert going_forwards.get_total_flops() == n_cells * expected
    assert (
        going_back.get_total_flops()
        == n_cells * operations.work_of(operations.backwards(settings, length, queries)).total
    )


def test_softmaxs_linear_operations_are_those_that_torch_counts(tiny_recipe):
    """Torch does not count its own attention on a CPU, which alone is of the size of two lengths."""
    settings = tiny_recipe(encoder={"attention": "softmax", "depth": 3}).encoder
    encoder = Encoder(settings, n_genes=40, gene_embedding=torch.randn(40, 16)).train()
    with FlopCounterMode(display=False) as counted:
        encoder.embed(torch.randint(0, 40, (1, 17)), torch.randint(0, 6, (1, 17))).sum().backward()
    listed = [*operations.forwards(settings, 17, 1), *operations.backwards(settings, 17, 1)]
    linear = [product for product in listed if product.n == 1]
    assert counted.get_total_flops() == operations.work_of(linear).total
    fused = operations.work_of(product for product in listed if product.n > 1)
    assert fused.total == 2 * 2 * 8 * 7 * (2 * 17 * 17 + 17)  # 2 heads of 8; 2 products forwards and 5 back
    assert fused.float32 == 0


@pytest.mark.parametrize(
    "objectives",
    [
        {},
        {"shared_masked_view": True},
        {"contrastive": {"weight": 0}},
        {"masked": {"weight": 0}, "malignancy": {"weight": 0}},
        {"malignancy": {"weight": 0}, "contrastive": {"symmetric": True}},
    ],
)
def test_a_steps_operations_are_those_that_torch_counts(tiny_recipe, objectives):
    recipe = tiny_recipe(objectives=objectives)
    lengths, targets = np.array([9, 24, 17, 12, 20]), np.array([1, 3, 2, 1, 3])
    targets *= recipe.objectives.masked.weight > 0
    chunks = by_tokens(lengths, 40)
    step = StepLoss(drawn_module(recipe, 40, device=CPU), recipe.objectives, max_tokens=40, autocast=nullcontext)
    with FlopCounterMode(display=False) as counted:
        step.accumulate(drawn_batch(lengths, targets, n_genes=40, device=CPU), health=False)
    shapes = operations.shapes_of(lengths, targets, chunks)
    work = operations.step_work(recipe.encoder, recipe.objectives, shapes)
    work = work.plus(operations.loss_work(recipe.encoder, recipe.objectives, len(lengths)))
    is_contrasted = recipe.objectives.contrastive.weight > 0
    unseen = 2 * 16 * len(lengths) ** 2 * is_contrasted  # InfoNCE's product in place, which the counter does not know
    assert counted.get_total_flops() == work.total - unseen


def test_a_kept_chunk_and_a_shared_view_save_their_passes(tiny_recipe):
    settings = tiny_recipe().encoder
    alone = {"masked": {"weight": 0}, "malignancy": {"weight": 0}}
    objectives = tiny_recipe(objectives=alone).objectives
    one, two = (operations.step_work(settings, objectives, [Shape(3, 20, 1, 0)] * n) for n in (1, 2))
    forwards = operations.work_of(operations.forwards(settings, 20, 1)).times(3)
    assert two.total == 2 * one.total + forwards.total
    shared, apart = (
        operations.step_work(
            settings, tiny_recipe(objectives={"shared_masked_view": is_shared}).objectives, [Shape(3, 20, 4, 9)]
        )
        for is_shared in (True, False)
    )
    assert shared.total < apart.total


def test_watched_memory_of_a_chunk_is_what_the_footprint_foretells(tiny_recipe):
    recipe = tiny_recipe(encoder={"width": 32, "depth": 3})
    found = footprint(recipe, "gpu")
    module = drawn_module(recipe, 40, device=CPU)
    lengths, targets = np.full(1, 400), np.full(1, 60)
    step = StepLoss(module, recipe.objectives, max_tokens=400, autocast=nullcontext)
    with Watch([*module.parameters(), *module.buffers()]) as watched:
        step.accumulate(drawn_batch(lengths, targets, n_genes=40, device=CPU), health=False)
    gradients = sum(parameter.grad.nbytes for parameter in module.parameters() if parameter.grad is not None)
    peak = max(held + features for held, features in watched.held) - gradients
    assert peak == pytest.approx(found.peak_bytes(400), rel=0.05)


def test_a_graph_keeps_less_than_the_peak_and_most_of_it(tiny_recipe):
    recipe = tiny_recipe(encoder={"width": 32, "depth": 6})
    module = drawn_module(recipe, 40, device=CPU)
    own = {parameter.untyped_storage().data_ptr() for parameter in [*module.parameters(), *module.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    view = drawn_batch(np.full(1, 400), np.full(1, 60), n_genes=40, device=CPU).plain()[slice(0, 1)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module.encoder.embed(view["genes"], view["bins"])
    assert 0.5 < sum(kept.values()) / footprint(recipe, "gpu").peak_bytes(400) < 1


def test_training_in_16_bits_takes_less_memory_a_token_and_favor_on_a_gpu_more(tiny_recipe):
    whole, half = (tiny_recipe(encoder={"width": 64}, training={"precision": p}) for p in ("32-true", "bf16-mixed"))
    assert footprint(half, "gpu").token_bytes < footprint(whole, "gpu").token_bytes
    assert footprint(whole, "cpu").token_bytes < footprint(whole, "gpu").token_bytes


def test_memory_rises_with_the_budget_and_the_largest_that_fits_just_fits(tiny_recipe):
    recipe = tiny_recipe()
    found = footprint(recipe, "gpu")
    budgets = [1_024, 2_048, 8_192, 65_536]
    rows = [memory_of(recipe, CELLS, found, budget) for budget in budgets]
    assert np.all(np.diff([row.device for row in rows]) > 0)
    limit = 200e6
    largest = largest_budget(rows[0], found, limit_bytes=limit)
    fits, not_fits = (memory_of(recipe, CELLS, found, n).device for n in (largest, largest + 1024))
    assert fits <= USABLE * limit < not_fits
    assert largest_budget(rows[0], found, limit_bytes=1e5) == 0


def test_a_cell_longer_than_the_budget_sets_the_memory(tiny_recipe):
    found = footprint(tiny_recipe(), "gpu")
    below, longest, above = (memory_of(tiny_recipe(), CELLS, found, n).activations for n in (10, 24, 30))
    assert below == longest < above


def test_only_a_cpu_loses_memory_between_blocks_of_its_heap(tiny_recipe):
    of_cpu, of_gpu = (
        memory_of(tiny_recipe(), CELLS, footprint(tiny_recipe(), layout), 1_024) for layout in ("cpu", "gpu")
    )
    assert of_cpu.gaps > 0
    assert of_gpu.gaps == 0
    assert of_cpu.total == of_cpu.device + of_cpu.gaps + of_cpu.batches


def planned(recipe, *, n, gpu="h100", network_gbit_s=400.0):
    batches = drawn_batches(recipe, CELLS)
    return parallel(
        recipe,
        batches,
        footprint(recipe, "gpu"),
        parameters_of(recipe, CELLS.n_genes)[1],
        on_gpu(GPUS[gpu], recipe, efficiency=0.5),
        n=n,
        gpu=GPUS[gpu],
        network_gbit_s=network_gbit_s,
    )


def test_twice_the_gpus_take_half_the_time_apart_from_talking(tiny_recipe):
    recipe = tiny_recipe(training={"batch_cells": 128})
    cells = replace(CELLS, expressed=np.full(100, 23))  # all alike: no padding, and no slowest
    batches, found, counted = drawn_batches(recipe, cells), footprint(recipe, "gpu"), parameters_of(recipe, 40)[1]
    seconds = on_gpu(GPUS["h100"], recipe, efficiency=0.5)
    one, two = (parallel(recipe, batches, found, counted, seconds, n=n, gpu=GPUS["h100"]) for n in (1, 2))
    assert one.communication_seconds == 0
    assert two.communication_seconds > 0
    assert two.step_seconds - two.communication_seconds == pytest.approx(one.step_seconds / 2, rel=0.02)
    assert one.padding_fraction == 0
    assert one.imbalance == 1


def test_talking_is_slower_between_machines_than_inside_one(tiny_recipe):
    recipe = tiny_recipe(training={"batch_cells": 64})
    inside, between, faster = (
        planned(recipe, n=n, network_gbit_s=speed) for n, speed in ((8, 400.0), (16, 400.0), (16, 800.0))
    )
    link = GPUS["h100"].link_gb_s * 1e9
    assert inside.communication_seconds == pytest.approx(inside.sent_bytes / link)
    assert between.communication_seconds == pytest.approx(between.sent_bytes / 50e9)
    assert faster.communication_seconds == pytest.approx(between.communication_seconds / 2)


def test_what_is_sent_is_a_ring_of_embeddings_and_one_of_gradients(tiny_recipe):
    recipe = tiny_recipe()
    counted = parameters_of(recipe, 40)[1]
    gathered, reduced = sent_bytes(recipe, counted, n=4)
    assert gathered == 2 * 14 * 16 * 4 * 3 / 4
    assert reduced == counted.trained * 4 * 2 * 3 / 4
    assert sent_bytes(recipe, counted, n=1) == (0, 0)
    alone = tiny_recipe(objectives={"contrastive": {"weight": 0}})
    assert sent_bytes(alone, counted, n=4) == (0, reduced)


def test_devices_share_the_cells_of_a_batch(tiny_recipe):
    recipe = tiny_recipe()
    batches = drawn_batches(recipe, CELLS)
    counted = parameters_of(recipe, 40)[1]
    of_batches = demands(recipe, batches, footprint(recipe, "gpu"), counted, n=3)
    assert [len(of_batch) for of_batch in of_batches] == [3] * len(batches.lengths)
    assert [sum(one.n_tokens for one in of_batch) for of_batch in of_batches] == [b.sum() for b in batches.lengths]


def test_less_efficiency_and_a_weaker_gpu_take_longer(tiny_recipe):
    recipe = tiny_recipe(training={"precision": "bf16-mixed"})
    assert planned(recipe, n=1, gpu="a100").hours > planned(recipe, n=1, gpu="h100").hours
    demand = demands(recipe, drawn_batches(recipe, CELLS), footprint(recipe, "gpu"), parameters_of(recipe, 40)[1], n=1)[
        0
    ][0]
    half, all_of_it = (on_gpu(GPUS["h100"], recipe, efficiency=e)(demand) for e in (0.5, 1.0))
    assert half == pytest.approx(2 * all_of_it)


def test_lengths_are_cut_and_a_panel_has_one_length(tiny_recipe):
    recipe = tiny_recipe()
    tokens = tokens_of(recipe, CELLS, drawn_batches(recipe, CELLS))
    assert tokens.cut_fraction == np.mean(CELLS.expressed + 1 > 24)
    assert tokens.mean == np.minimum(CELLS.expressed + 1, 24).mean()
    panel = tiny_recipe(tokens={"layout": "full", "panel_size": 12})
    of_panel = drawn_batches(panel, CELLS)
    assert set(of_panel.lengths[0].tolist()) == {13}
    assert max(targets.max() for targets in of_panel.targets) <= 12
    assert tokens_of(panel, CELLS, of_panel).cut_fraction == 0


def test_drawn_lengths_have_the_corpuss_mean_and_99th_percentile():
    lengths = drawn_lengths(200_000, longest=100_000)
    assert lengths.mean() - 1 == pytest.approx(1_616, rel=0.01)
    assert np.percentile(lengths, 99) == pytest.approx(4_673, rel=0.02)
    assert lengths.min() >= 201
    assert drawn_lengths(1_000, longest=300).max() == 300


def test_files_are_as_large_as_the_plan_says(tiny_recipe, corpus, gene_table, tmp_path):
    recipe = tiny_recipe(encoder={"width": 64, "depth": 4})
    table = np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)
    result = pretrain(recipe, corpus, gene_table=table, gene_digest="g", seed=0, checkpoints=tmp_path / "checkpoints")
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, result.encoder, recipe=recipe, vocabulary="v", panel=None, stamp=stamp("pretrain", {}))
    disk = disk_of(recipe, replace(CELLS, shard_bytes=123))
    sizes = [file.stat().st_size for file in (tmp_path / "checkpoints").rglob("*.safetensors")]
    assert sizes
    assert max(sizes) == pytest.approx(disk.checkpoint, rel=0.05)
    assert path.stat().st_size == pytest.approx(disk.encoder, rel=0.05)
    assert disk.shards == 123
    assert disk_of(recipe, CELLS).shards == round(1_000 * CELLS.expressed.mean() * 4.02)


def test_a_best_checkpoint_is_kept_where_cells_are_held_out(tiny_recipe):
    last, best = (disk_of(tiny_recipe(training={"validation_cells": n}), CELLS).n_checkpoints for n in (0, 5))
    assert (last, best) == (3, 4)


@pytest.mark.slow
def test_a_calibration_foretells_a_step_of_more_cells(tiny_recipe):
    recipe = tiny_recipe(
        tokens={"max_length": 200}, encoder={"width": 64}, training={"batch_cells": 32, "chunk_tokens": 1_024}
    )
    cells = Cells(1_000, 300, np.arange(50, 250))
    batches = drawn_batches(recipe, cells)
    timed = calibrate(
        recipe,
        batches.lengths[0][:12],
        batches.targets[0][:12],
        n_genes=300,
        seconds=2,
        device=CPU,
        clock=time.process_time,
    )
    assert timed.n_steps >= 2
    foretold = parallel(
        recipe, batches, footprint(recipe, "cpu"), parameters_of(recipe, 300)[1], as_calibrated(timed), n=1
    )
    module = drawn_module(recipe, 300, device=CPU)
    step = StepLoss(module, recipe.objectives, max_tokens=1_024, autocast=nullcontext)
    seconds = []
    for number in range(4):
        batch = drawn_batch(batches.lengths[number], batches.targets[number], n_genes=300, device=CPU)
        started = time.process_time()
        step.accumulate(batch, health=False)
        seconds.append(time.process_time() - started)
    assert foretold.step_seconds == pytest.approx(np.median(seconds), rel=0.5)  # perf/plan_check.py asks for 0.2


def test_a_released_encoder_is_not_planned(tiny_recipe):
    with pytest.raises(InputError, match=r"(?s)favor or softmax.*train with favor"):
        drawn_batches(tiny_recipe(encoder={"attention": "released"}), CELLS)


def test_an_unknown_gpu_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"did you mean h100\?"):
        gpu_of("H1000")
    with pytest.raises(InputError, match=r"data sheet"):
        gpu_of("abacus")


@pytest.mark.parametrize(
    ("option", "value"), [("counts", [0]), ("counts", [15]), ("efficiency", 0.0), ("efficiency", 1.5)]
)
def test_counts_and_shares_out_of_range_are_refused(tiny_recipe, option, value):
    recipe = tiny_recipe()
    options = {"gpus": {"h100": GPUS["h100"]}, "counts": [1], option: value}
    with pytest.raises(InputError, match="expected"):
        outlook(recipe, CELLS, drawn_batches(recipe, CELLS), **options)
