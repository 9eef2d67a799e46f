"""Hours of fits: they follow the budget, and what is kept of frozen layers is not paid for twice."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.bench.conftest import ROWS

from celllm.bench.commands import plan_bench
from celllm.bench.plan import uses_of, wall_hours
from celllm.config.catalogue import Runs
from celllm.config.settings import FitBudget

ROOT = Path(__file__).resolve().parents[2]
BUDGET = FitBudget(cells=7000, epochs=30, checks=5, patience=3)
RUNS = Runs(splits=(0, 1), seeds=(0,))


@pytest.mark.parametrize(
    ("method", "n_kept", "expected"),
    [
        # of 1,000 cells 700 are for training: 7,000 shown, 100 asked 5 times; 2 splits and 3 trials, 200 tested
        pytest.param("celllm", 1000, (1000, 6 * 7500 + 400, 6 * 7000), id="all kept"),
        pytest.param("celllm", 0, (6 * 7500 + 400, 6 * 7500 + 400, 6 * 7000), id="none kept"),
        pytest.param("celllm_full", 1000, (6 * 7500 + 400, 6 * 7500 + 400, 6 * 7000), id="nothing frozen"),
        pytest.param("celllm_probe", 1000, (1000, 1000, 0), id="embedding alone"),
    ],
)
def test_cells_are_encoded_as_often_as_the_budget_has_it(cells_task, method, n_kept, expected):
    task = replace(cells_task, train=0.7, validation=0.1, test=0.2)
    found = uses_of(task, ROWS.row(method), RUNS, BUDGET, n=1000, trials=3, n_kept=n_kept)

    assert (found.frozen, found.forwards, found.backwards) == pytest.approx(expected)


def test_under_compat_the_released_epochs_are_counted(cells_task):
    task = replace(cells_task, train=0.8, validation=0, test=0.2, protocol="compat")
    found = uses_of(task, ROWS.row("celllm"), RUNS, BUDGET, n=1000, trials=3, n_kept=1000)

    assert found.backwards == 2 * 100 * 800
    assert found.forwards == 2 * 100 * 800 + 2 * 100 * 200 + 2 * 200


@pytest.mark.parametrize(("n_gpus", "expected"), [(1, 10.0), (2, 6.0), (8, 6.0)])
def test_the_longest_job_bounds_many_gpus(n_gpus, expected):
    assert wall_hours([6.0, 3.0, 1.0], n_gpus) == expected


def test_a_larger_data_set_takes_longer(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    hours = []
    for cells in (500, 4000):
        plan_bench(config=[ROOT / "config/real.yaml"], size=[f"pbmc_zheng2017_facs={cells}x500"], json=True)
        hours.append(float(capsys.readouterr().out.split('"1": ')[1].split(",")[0]))

    assert 0 < hours[0] < hours[1]
