from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from celllm.config import tables
from celllm.report.figures import style
from celllm.report.figures.benchmark import draw_scores
from celllm.report.figures.cells import draw_confusion
from celllm.report.figures.maps import draw_umap, plane
from celllm.report.figures.pretraining import PANELS, draw_cost_of_encoder, draw_curves
from celllm.report.results import Results

REAL = SimpleNamespace(datasets={"d": {"simulated": False}})
LONG = [f"CD{i}+/CD45RA+/CD25- Naive T cell" for i in range(10)]


def texts(figure):
    """Everything a figure says, in titles, labels, ticks, legends and panels."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def overlapping(figure):
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


def history(**columns):
    return pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]} | columns)


def test_equal_figures_make_equal_files_which_say_what_made_them(tmp_path):
    for name in ("a", "b"):
        figure, made = style.notice("All runs failed"), {"stage": "report-7"}
        style.save(figure, png=tmp_path / f"{name}.png", pdf=tmp_path / f"{name}.pdf", provenance=made)
    for ending in ("png", "pdf"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    assert b"report-7" in (tmp_path / "a.png").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_no_two_methods_of_one_kind_share_colour_and_mark(root):
    methods = list(tables.read_methods(root / "config/methods.tsv"))
    looks = style.looks_of_methods(methods)
    for kind in ("classification", "regression"):
        seen = [
            (looks[row.method]["color"], looks[row.method]["marker"], looks[row.method]["markerfacecolor"])
            for row in methods
            if row.kind == kind
        ]
        assert len(set(seen)) == len(seen)


def test_an_objective_that_was_left_out_is_called_so():
    complete = {panel.key: [1.0, 1.0, 1.0] for panel in PANELS}
    assert "left out" not in texts(draw_curves({"demo, seed 0": history(**complete)}, REAL))
    lacking = history(**(complete | {"contrastive": [None] * 3}))
    assert "left out" in texts(draw_curves({"scbert, seed 0": lacking}, REAL))


@pytest.mark.parametrize(
    ("title", "columns"),
    [
        ("masked expression: accuracy", ["masked_accuracy", "masked_majority", "masked_cell_mode"]),
        ("contrastive: loss", ["contrastive", "log_batch", "contrastive_depth"]),
        ("probe with 5 %", ["probe_5pct", "probe_untrained_5pct", "probe_components_5pct", "probe_joined_5pct"]),
    ],
)
def test_what_a_curve_must_beat_is_drawn_beside_it(title, columns):
    values = {name: [0.1 * i, None, 0.9 - 0.1 * i] for i, name in enumerate(columns)}  # looked at every other row
    figure = draw_curves({"a": history(**values)}, REAL)
    axis = next(axis for axis in figure.axes if axis.get_title().startswith(title))
    drawn = {line.get_linestyle(): list(line.get_ydata()) for line in axis.get_lines()}
    assert list(drawn.values()) == [[first, last] for first, _, last in values.values()]


@pytest.mark.parametrize("is_simulated", [True, False])
def test_curves_of_a_simulated_corpus_are_called_simulated(is_simulated):
    corpus = SimpleNamespace(datasets={"d": {"simulated": is_simulated}})
    said = " ".join(texts(draw_curves({"a": history()}, corpus)))
    assert ("simulated" in said) == is_simulated


def test_rows_of_the_confusion_are_shares_of_the_true_class_and_an_absent_class_has_none():
    truth, predicted = np.array(["a"] * 4 + ["b"]), np.array(["a", "a", "a", "b", "b"])
    said = texts(draw_confusion(truth, predicted, ["a", "b", "c"], title="T (simulated)", subtitle="S"))
    assert {"a  (n = 4)", "c  (n = 0)", "T (simulated)\nS"} <= set(said)
    assert [text for text in said if text in ("75", "25", "100")] == ["75", "25", "100"]


def test_ten_long_class_names_do_not_overlap():
    labels = np.array(LONG * 10)
    figure = draw_confusion(labels, np.sort(labels), LONG, title="Annotation", subtitle="CellLM, 3 seeds")
    assert overlapping(figure) == []


@pytest.mark.slow
def test_one_seed_makes_one_map(generator):
    features = np.concatenate([generator.normal(0, 1, (20, 5)), generator.normal(9, 1, (20, 5))])
    first, second = (plane(features, "euclidean") for _ in range(2))
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


def test_every_method_has_a_line_of_its_own_and_texts_are_apart(scores, catalogue):
    figure = draw_scores(Results(scores), catalogue)
    assert overlapping(figure) == []
    said = texts(figure)
    assert any("of nothing" in text and "simulated" in text for text in said)
    assert "majority_class (trivial)" in said
    assert "CellLM: withheld: no baseline" in texts(
        draw_scores(Results(scores[scores["method"] != "logistic"]), catalogue)
    )
    height = figure.axes[0].get_window_extent().height / figure.dpi
    # two tasks of six methods, marks of 4.2 points: lines must lie 5 points apart or more
    assert height * 72 / 2 * 0.8 / 6 > 5


def test_a_step_that_does_not_fit_is_named(catalogue):
    rows = [(4, "chunked", 1.0, 0.5), (4, "full-batch", None, None)]
    table = pd.DataFrame(rows, columns=["B", "mode", "seconds", "peak_gb"])
    assert "4 cells do not fit" in texts(draw_cost_of_encoder(table, catalogue, "celllm"))
