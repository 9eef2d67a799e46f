"""Few-shot curves: tasks alike in all but the share for training."""

from dataclasses import replace

import pandas as pd
import pytest

from celllm.report.figures.benchmark import curves_of, draw_fewshot, points_of
from celllm.report.results import Results


@pytest.fixture
def with_curve(catalogue):
    """Blood at 5 and at 80 %, and a task with a validation part, which belongs to no curve."""
    blood = catalogue.tasks["blood"]
    few = replace(blood, task="few", train=0.05, validation=0.0)
    tasks = {"blood": blood, "all": replace(few, task="all", train=0.8), "few": few}
    return catalogue.model_copy(update={"tasks": tasks})


@pytest.fixture
def results(scores):
    blood = scores[scores["task"] == "blood"]
    more = blood.assign(task="all", value=blood["value"].where(blood["metric"] != "n_train", 800.0))
    few = blood.assign(task="few", value=blood["value"].where(blood["metric"] != "n_train", 50.0))
    return Results(pd.concat([blood, few, more]))


def test_a_curve_is_made_of_tasks_alike_in_all_but_the_training_share_its_points_are_means(with_curve, results):
    (curve,) = curves_of(with_curve, results)
    assert [task.task for task in curve] == ["few", "all"]
    (first, score), (second, _) = points_of(curve, with_curve, results)["logistic"]

    assert (first, second) == (50.0, 800.0)
    assert score.mean == pytest.approx(0.8)


def test_each_curve_has_a_panel_with_every_method(with_curve, results):
    figure = draw_fewshot(results, with_curve)

    (axis,) = figure.axes
    named = [text.get_text() for text in axis.get_legend().get_texts()]
    assert named[:3] == ["CellLM", "CellLM_without_pretraining", "logistic regression"]
    assert axis.get_xscale() == "log"


def test_without_a_curve_the_figure_says_so(catalogue, scores):
    figure = draw_fewshot(Results(scores), catalogue)
    assert "No few-shot curve" in figure.texts[0].get_text()
