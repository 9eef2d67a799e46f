"""Two processes with uneven parts of a batch take the step of one: same loss, same gradient."""

from __future__ import annotations

import json
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import pytest
from tiny import PARTS, SHARED, STEPS, WHOLE, pretraining_step, small_step, take_steps

from celllm.pretrain.ranks import ALONE


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, forked: BaseContext) -> list[dict[str, Any]]:
    """What each of two processes has found."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = [forked.Process(target=take_steps, args=(rank, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def assert_same(found: dict[str, Any], expected: dict[str, Any], *, rel: float) -> None:
    assert found["loss"] == pytest.approx(expected["loss"], rel=rel)
    for name, gradient in expected["gradients"].items():
        if gradient is None:
            assert found["gradients"][name] is None  # what nobody trains gets none, so no weight decay either
        else:
            np.testing.assert_allclose(found["gradients"][name], gradient, rtol=1e-7, atol=1e-10, err_msg=name)


@pytest.mark.slow
def test_ranks_take_the_step_of_one_process(found: list[dict[str, Any]]) -> None:
    alone = small_step(WHOLE, ALONE)
    for rank in found:
        assert_same(rank["small"], alone, rel=1e-12)
        assert rank["small"]["check"] < 1e-9
        assert rank["small"]["pass"] < 1e-12
        assert rank["agree"] == [True, False]
    apart = [small_step(own, ALONE) for own in PARTS]  # ranks that keep to themselves take another step
    for name, expected in alone["gradients"].items():
        if not name.startswith(("head", "idle")):
            assert not np.allclose(np.add(*(one["gradients"][name] for one in apart)), expected, rtol=1e-3), name


@pytest.mark.slow
def test_a_cell_that_is_not_finite_stops_every_rank_and_its_own_names_it(found: list[dict[str, Any]]) -> None:
    errors = [rank["poisoned"]["error"] for rank in found]
    expected = ["an embedding of another rank is not finite", "an embedding is not finite in chunk 1, cells 2, 3"]
    assert errors == expected
    assert not any(gradient for rank in found for gradient in rank["poisoned"]["gradients"].values())


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_ranks_take_the_step_of_pretraining_of_one_process(found: list[dict[str, Any]], name: str) -> None:
    alone = pretraining_step(WHOLE, ALONE, name)
    for rank in found:
        assert_same(rank[name], alone, rel=1e-9)
        for figure in SHARED:
            assert rank[name]["figures"][figure] == pytest.approx(alone["figures"][figure], rel=1e-6), figure
