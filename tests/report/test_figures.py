from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from celllm.harmonise.harmonisation import Harmonisation
from celllm.report import figures
from celllm.report.cell_map import draw_umap, plane
from celllm.report.confusion import confusion_shares, draw_confusion
from celllm.report.coverage import draw_harmonisation
from celllm.report.curves import PANELS, draw_curves
from celllm.report.dots import dots_of, draw_scores
from celllm.report.results import Results

LONG = [f"CD{i}+/CD45RA+/CD25- Naive T cell" for i in range(10)]


def texts(figure: Figure) -> list[str]:
    """Everything a figure says, in titles, labels, ticks, legends and panels."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap by more than a pixel; turned text is left out, its box is too large."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    shown = [
        text
        for text in figure.findobj(lambda artist: hasattr(artist, "get_text") and hasattr(artist, "get_rotation"))
        if text.get_visible() and text.get_text().strip() and text.get_rotation() in (0, 90)
    ]
    boxes = [(text.get_text(), text.get_window_extent(renderer).padded(-1)) for text in shown]
    return [
        (a, b)
        for i, (a, box) in enumerate(boxes)
        for b, other in boxes[i + 1 :]
        if box.overlaps(other) and box.width > 0 and other.width > 0
    ]


def history(**columns) -> pd.DataFrame:
    return pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]} | columns)


def reports(n: int) -> list[Harmonisation]:
    routes = {"approved": 70, "previous": 10, "ambiguous": 5, "outside_vocabulary": 10, "unknown": 5}
    return [
        Harmonisation(f"d{i}", 100, 80, 5, 15, 0, 0.9 if i else 0.1, routes, {}, [("X", 0.1)], {}, 0.8)
        for i in range(n)
    ]


def test_equal_figures_make_equal_files(tmp_path):
    for name in ("a", "b"):
        figure = draw_curves({"demo, seed 0": history()})
        figures.save(figure, png=tmp_path / f"{name}.png", pdf=tmp_path / f"{name}.pdf", provenance={"stage": "s"})
    for ending in ("png", "pdf"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_a_saved_figure_says_what_made_it(tmp_path):
    figures.save(Figure(), png=tmp_path / "a.png", pdf=tmp_path / "a.pdf", provenance={"stage": "report-7"})
    assert b"report-7" in (tmp_path / "a.png").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_the_first_looks_are_all_different():
    assert len({figures.look(i) for i in range(30)}) == 30


def test_an_objective_that_was_not_trained_is_called_so():
    complete = {panel.key: [1.0, 1.0, 1.0] for panel in PANELS}
    assert "not trained" not in texts(draw_curves({"demo, seed 0": history(**complete)}))
    lacking = history(**(complete | {"contrastive": [None] * 3}))
    assert "not trained" in texts(draw_curves({"scbert, seed 0": lacking}))


def test_the_baseline_is_drawn_beside_the_curve():
    figure = draw_curves({"a": history(masked_accuracy=[0.5, 0.6, 0.7], masked_majority=[0.4, 0.45, 0.4])})
    axis = next(axis for axis in figure.axes if axis.get_title().startswith("masked expression: accuracy"))
    drawn = [list(line.get_ydata()) for line in axis.get_lines()]
    assert [0.4, 0.45, 0.4] in drawn


@pytest.mark.parametrize("is_simulated", [True, False])
def test_curves_of_a_simulated_corpus_are_called_simulated(is_simulated):
    said = " ".join(texts(draw_curves({"a": history()}, is_simulated=is_simulated)))
    assert ("simulated" in said) == is_simulated


def test_rows_of_the_confusion_add_up_to_one_and_an_absent_class_has_none():
    shares = confusion_shares(["a", "a", "a", "a", "b"], ["a", "a", "a", "b", "b"], ["a", "b", "c"])
    np.testing.assert_array_equal(shares, [[0.75, 0.25, 0], [0, 1, 0], [np.nan] * 3])


def test_the_confusion_names_true_classes_in_rows():
    figure = draw_confusion(
        np.array([[0.75, 0.25], [0.0, 1.0]]), ["a", "b"], support=[4, 1], title="T (simulated)", subtitle="S"
    )
    said = texts(figure)
    assert "a  (n = 4)" in said
    assert {"75", "25", "100"} <= set(said)
    assert "T (simulated)\nS" in said


def test_ten_long_class_names_do_not_overlap():
    shares = np.full((10, 10), 0.1)
    figure = draw_confusion(shares, LONG, support=[100] * 10, title="Annotation", subtitle="CellLM, 3 seeds")
    assert overlapping(figure) == []


@pytest.mark.slow
def test_one_seed_makes_one_map(generator):
    features = np.concatenate([generator.normal(0, 1, (20, 5)), generator.normal(9, 1, (20, 5))])
    first, second = (plane(features, seed=3, metric="euclidean") for _ in range(2))
    np.testing.assert_array_equal(first, second)
    near, far = np.linalg.norm(first[0] - first[1:20], axis=1), np.linalg.norm(first[0] - first[20:], axis=1)
    assert near.max() < far.min()


def test_the_map_draws_each_label_and_calls_the_bare_cells_so(generator):
    labels = np.array([*LONG, ""] * 3)
    xy = generator.normal(size=(33, 2))
    figure = draw_umap({"pretrained encoder": xy, "principal components": xy}, labels, title="Cells")
    said = texts(figure)
    assert {*LONG, "no label"} <= set(said)
    assert overlapping(figure) == []


def test_dots_are_means_of_the_headline_metric(scores, catalogue):
    dots = {(dot.task, dot.method): dot for dot in dots_of(Results(scores), catalogue)}
    assert dots[("blood", "logistic")].mean == pytest.approx(0.8)
    assert len(dots) == 12


def test_an_encoder_without_neighbour_has_no_dot(scores, catalogue):
    dots = {(dot.task, dot.method): dot for dot in dots_of(Results(scores[scores["method"] != "logistic"]), catalogue)}
    assert np.isnan(dots[("blood", "celllm")].mean)
    figure = draw_scores(list(dots.values()), catalogue)
    assert "CellLM: neighbour missing" in texts(figure)


def test_simulated_tasks_are_called_simulated_in_the_plot(scores, catalogue):
    said = texts(draw_scores(dots_of(Results(scores), catalogue), catalogue))
    assert any("of nothing" in text and "simulated" in text for text in said)
    assert "majority class (trivial)" in said or "majority_class (trivial)" in said


def test_every_method_has_a_line_of_its_own_that_can_be_told_from_the_next(scores, catalogue):
    figure = draw_scores(dots_of(Results(scores), catalogue), catalogue)
    figure.canvas.draw()
    height = figure.axes[0].get_window_extent().height / figure.dpi
    # two tasks of six methods, marks of 4.2 points: lines must lie 5 points apart or more
    assert height * 72 / 2 * 0.8 / 6 > 5


def test_the_plot_of_scores_keeps_its_texts_apart(scores, catalogue):
    assert overlapping(draw_scores(dots_of(Results(scores), catalogue), catalogue)) == []


@pytest.mark.parametrize("n", [1, 12])
def test_bars_of_coverage_keep_their_texts_apart(n):
    titles = {f"d{i}": f"A data set with quite a long title, number {i}" for i in range(n)}
    figure = draw_harmonisation(reports(n), titles=titles)
    assert overlapping(figure) == []
    assert {"10.0%"} <= set(texts(figure))


def test_shares_of_names_fill_the_bar():
    figure = draw_harmonisation(reports(1), titles={})
    right = figure.axes[1]
    assert sum(bar.get_width() for bar in right.patches) == pytest.approx(1)
