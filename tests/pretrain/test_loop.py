"""Pretraining is deterministic, goes on where it stopped, and learns."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from celllm.base.errors import InputError
from celllm.model.encoder import Encoder
from celllm.pretrain.corpus import choose_panel
from celllm.pretrain.loop import PretrainingResult, pretrain
from celllm.pretrain.monitor import SPEEDS
from celllm.pretrain.run import DivergedError, Run


def trained(recipe: Any, corpus: Any, gene_table: np.ndarray | None, **options: Any) -> PretrainingResult:
    return pretrain(recipe, corpus, gene_table=gene_table, gene_digest="genes", **{"seed": 0, **options})


def assert_same(one: PretrainingResult, other: PretrainingResult) -> None:
    for name, tensor in one.encoder.state_dict().items():
        assert torch.equal(tensor, other.encoder.state_dict()[name]), name
    for first, second in zip(one.history, other.history, strict=True):
        timed = dict.fromkeys(SPEEDS, 0)
        assert {**first, **timed} == {**second, **timed}


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any
) -> None:
    one = trained(tiny_recipe(), corpus, gene_table)
    torch.rand(5)  # what the caller draws does not matter
    assert_same(one, trained(tiny_recipe(), corpus, gene_table))
    other = trained(tiny_recipe(), corpus, gene_table, seed=1)
    assert not torch.equal(one.encoder.to_expression.weight, other.encoder.to_expression.weight)


def test_the_callers_random_numbers_are_left_alone(corpus: Any, gene_table: np.ndarray, tiny_recipe: Any) -> None:
    before = torch.get_rng_state()
    trained(tiny_recipe(training={"steps": 1}), corpus, gene_table)
    assert torch.equal(torch.get_rng_state(), before)


def test_attention_that_looks_at_other_cells_is_not_trained(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any
) -> None:
    recipe = tiny_recipe(encoder={"attention": "released"})
    with pytest.raises(InputError, match=r"(?s)encoder\.attention.*favor or softmax.*train with favor"):
        trained(recipe, corpus, gene_table)


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights_bit_for_bit(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path, stop_after: int
) -> None:
    straight = trained(tiny_recipe(), corpus, gene_table)
    trained(tiny_recipe(), corpus, gene_table, checkpoints=tmp_path, stop_after=stop_after)
    assert_same(straight, trained(tiny_recipe(), corpus, gene_table, checkpoints=tmp_path))


def test_a_finished_run_is_not_trained_again(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = trained(tiny_recipe(), corpus, gene_table, checkpoints=tmp_path)
    monkeypatch.setattr(Run, "step", lambda *_, **__: pytest.fail("a step was taken"))
    assert_same(done, trained(tiny_recipe(), corpus, gene_table, checkpoints=tmp_path))


@pytest.mark.parametrize(
    ("what", "field"),
    [("recipe", "recipe"), ("vocabulary", "vocabulary"), ("digest", "shards"), ("seed", "seed"), ("stage", "stage")],
)
def test_the_checkpoint_of_another_run_is_refused(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path, what: str, field: str
) -> None:
    trained(tiny_recipe(), corpus, gene_table, checkpoints=tmp_path, stop_after=1)
    recipe, options = tiny_recipe(), {}
    if what == "recipe":
        recipe = tiny_recipe(optimiser={"learning_rate": 0.02})
    elif what in ("seed", "stage"):
        options = {what: 7 if what == "seed" else "pretrain-2"}
    else:
        setattr(corpus, what, "another")
    with pytest.raises(InputError) as caught:
        trained(recipe, corpus, gene_table, checkpoints=tmp_path, **options)
    assert caught.value.field == field
    assert f"rm -r {tmp_path}" in caught.value.remedy


def test_features_are_redrawn_every_so_many_steps_and_not_otherwise(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    redraws = []
    real = Encoder.redraw_features
    monkeypatch.setattr(
        Encoder, "redraw_features", lambda self, generator: (redraws.append(1), real(self, generator))[1]
    )
    for chunk in (24, 168):
        redraws.clear()
        trained(tiny_recipe(training={"redraw_every": 4, "chunk_tokens": chunk}), corpus, gene_table)
        assert len(redraws) == 1


def test_what_is_left_has_the_features_of_its_last_steps(corpus: Any, gene_table: np.ndarray, tiny_recipe: Any) -> None:
    recipe = tiny_recipe(training={"redraw_every": 2})
    drawn = [dict(trained(recipe, corpus, gene_table, stop_after=n).encoder.named_buffers()) for n in (4, 5, 6)]
    is_new = [any(not torch.equal(t, after[name]) for name, t in before.items()) for before, after in pairwise(drawn)]
    assert is_new == [True, False]


def test_the_chunk_size_does_not_change_the_course_of_training(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any
) -> None:
    still = {"encoder": {"dropout": 0.0}}  # with dropout the chunks draw other numbers
    runs = [trained(tiny_recipe(training={"chunk_tokens": c}, **still), corpus, gene_table) for c in (50, 400)]
    for first, second in zip(runs[0].history, runs[1].history, strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)


def test_training_learns_all_three_tasks(corpus: Any, gene_table: np.ndarray, tiny_recipe: Any) -> None:
    history = trained(tiny_recipe(training={"steps": 100, "log_every": 10}), corpus, gene_table).history
    first, last = history[0], history[-1]
    assert last["masked"] < 0.8 * first["masked"]
    assert last["malignancy"] < 0.5 * first["malignancy"]
    assert last["malignancy_accuracy"] > last["malignancy_majority"] + 0.2
    assert last["contrastive"] < 0.8 * first["log_batch"]
    assert last["mean_cosine"] < first["mean_cosine"]
    assert max(row["pass_difference"] for row in history) == 0
    assert [row["step"] for row in history] == list(range(10, 101, 10))


def test_the_gene_table_stays_frozen_and_the_caller_keeps_his(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any
) -> None:
    before = gene_table.copy()
    made = trained(tiny_recipe(), corpus, gene_table)
    np.testing.assert_array_equal(made.encoder.embedding.genes.weight[:40].numpy(), before)
    np.testing.assert_array_equal(gene_table, before)


def test_a_learned_gene_table_moves(corpus: Any, tiny_recipe: Any) -> None:
    recipe = tiny_recipe(genes={"method": "learned"})
    short, long = (trained(recipe, corpus, None, stop_after=n) for n in (1, 6))
    assert not torch.equal(short.encoder.embedding.genes.weight, long.encoder.embedding.genes.weight)
    assert not long.encoder.embedding.genes.weight[41].any()  # PAD


@pytest.mark.parametrize("weight", [1.0, 0.0], ids=["contrastive", "not contrastive"])
def test_what_is_not_finite_stops_the_run_and_names_step_and_cells(
    corpus: Any,
    gene_table: np.ndarray,
    tiny_recipe: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weight: float,
) -> None:
    recipe = tiny_recipe(objectives={"contrastive": {"weight": weight}})
    real = Run._optimised
    steps: list[int] = []

    def noted(self: Run, drawn: Any, step: int) -> Any:
        steps.append(step)
        return real(self, drawn, step)

    original = Encoder.at

    def at(self: Encoder, *tokens: torch.Tensor) -> torch.Tensor:
        hidden = original(self, *tokens)
        return hidden * float("nan") if steps[-1] == 5 and len(tokens[0]) > 1 else hidden

    monkeypatch.setattr(Run, "_optimised", noted)
    monkeypatch.setattr(Encoder, "at", at)
    found = r"an embedding is not finite in chunk \d, cells cell\d+, cell\d+.*" if weight else "the loss is not finite"
    with pytest.raises(DivergedError, match=f"step 5: {found}; the weights are those of step 4, the last checkpoint"):
        trained(recipe, corpus, gene_table, checkpoints=tmp_path)
    monkeypatch.undo()
    assert_same(trained(recipe, corpus, gene_table, checkpoints=tmp_path), trained(recipe, corpus, gene_table))


def test_a_check_every_few_steps_is_in_the_history_and_changes_nothing(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any
) -> None:
    checked = trained(tiny_recipe(training={"check_every": 4, "log_every": 1}), corpus, gene_table)
    plain = trained(tiny_recipe(training={"log_every": 1}), corpus, gene_table)
    assert [row["check_difference"] is not None for row in checked.history] == [False, False, False, True, False, False]
    assert checked.history[3]["check_difference"] < 1e-4
    assert [row["loss"] for row in checked.history] == [row["loss"] for row in plain.history]


def test_layout_full_trains_on_a_panel_of_the_commonest_genes(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any
) -> None:
    corpus.counts = corpus.counts.tolil()
    corpus.counts[:, 7] = 50
    corpus.counts = corpus.counts.tocsr()
    recipe = tiny_recipe(
        tokens={"layout": "full", "panel_size": 12},
        objectives={"contrastive": {"weight": 0}, "malignancy": {"weight": 0}},
    )
    made = trained(recipe, corpus, gene_table)
    assert made.panel is not None
    assert len(made.panel) == 12
    assert 7 in made.panel
    assert list(made.panel) == sorted(made.panel)
    assert made.history[-1]["contrastive"] is None


def test_the_panel_holds_the_genes_of_highest_mean_share_whatever_the_piece(corpus: Any) -> None:
    shares = corpus.counts.toarray() / corpus.counts.toarray().sum(1, keepdims=True)
    expected = np.sort(np.argsort(-shares.mean(0), kind="stable")[:9])
    for piece in (7, 1000):
        np.testing.assert_array_equal(choose_panel(corpus, 9, piece=piece), expected)
    np.testing.assert_array_equal(choose_panel(corpus, None), np.arange(40))
