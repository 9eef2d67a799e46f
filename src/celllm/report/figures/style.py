"""What all figures share: colours, marks, size of type, and how they are saved.

Figures are built on `Figure` alone, without pyplot's global state, so no window system is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from celllm.base.atomic import writing
from celllm.config.tables import LINEAR, LOWER, UPPER, Method

# Okabe & Ito 2008, https://jfly.uni-koeln.de/color: told apart with any common colour blindness.
# Its yellow is left out (too faint on white); beyond seven, the mark changes as well as the colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
# Tol 2021, https://sronpersonalpages.nl/~pault, scheme "muted", and black: ten classes, each a colour of its own.
MANY_COLOURS = (
    "#332288",
    "#CC6677",
    "#117733",
    "#DDCC77",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#AA4499",
    "#999933",
    "#000000",
)
ALL_FAILED = "All runs failed: see the table of failed runs."
TRIVIAL = "trivial"
"""Role of methods that know nothing of the single cell or line: the floor of each task."""
GREY = "#8A8A8A"
PALE = "#DDDDDD"

_STYLE = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "figure.titlesize": 10.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "pdf.fonttype": 42,  # TrueType, so that text stays text in an editor
    "svg.hashsalt": "celllm",
}


def style() -> AbstractContextManager[None]:
    """Set the type and the frames of all figures for the length of a `with` block."""
    context: AbstractContextManager[None] = mpl.rc_context(_STYLE)
    return context


def notice(text: str) -> Figure:
    """Draw a sentence in place of a figure for which there is nothing to show."""
    with style():
        figure = Figure(figsize=(6, 1.5), layout="constrained")
        figure.text(0.5, 0.5, text, ha="center", va="center")
        return figure


def look(i: int, colours: Sequence[str] = COLOURS) -> tuple[str, str]:
    """Return colour and mark of the i-th thing; each of all colours x marks comes once before the first comes again."""
    turn, colour = divmod(i, len(colours))
    return colours[colour], MARKS[(colour + turn) % len(MARKS)]


def looks_of_methods(methods: Iterable[Method]) -> dict[str, dict[str, Any]]:
    """Return colour and mark of every method as options of `Axes.plot`, the same in all figures.

    No two methods of one kind of task look the same. Methods of one title, and the two linear models, look the same on
    cells and on cell lines. Trivial baselines are hollow and grey, controls black.
    """
    methods = list(methods)
    marks = {UPPER: "P", LOWER: "X"}
    controls = {method.method: marks[method.role] for method in methods if method.role in marks}
    trivial = [method.method for method in methods if method.role == TRIVIAL]
    plain = [method for method in methods if method.method not in {*controls, *trivial}]
    groups = {method.method: "linear" if method.role == LINEAR else method.title for method in plain}
    order = list(dict.fromkeys(groups.values()))
    looks: dict[str, dict[str, Any]] = {}
    for method in methods:
        name = method.method
        if name in controls:
            colour, mark, face = "black", controls[name], "black"
        elif name in trivial:
            colour, mark, face = GREY, MARKS[trivial.index(name) % len(MARKS)], "white"
        else:
            colour, mark = look(order.index(groups[name]), COLOURS[:-1])  # black is for the controls
            face = colour
        looks[name] = {
            "color": colour,
            "marker": mark,
            "markerfacecolor": face,
            "markersize": 5.5 if name in controls else 4.2,
            "markeredgewidth": 0.9,
        }
    return looks


def save(figure: Figure, *, png: Path | str, pdf: Path | str, provenance: Mapping[str, Any]) -> None:
    """Write a figure as PNG (150 dots an inch) and PDF, with its provenance in both.

    No date goes in, so equal figures make equal files.
    """
    made = json.dumps(provenance, sort_keys=True)
    with writing(png) as part:
        figure.savefig(part, format="png", dpi=150, facecolor="white", metadata={"Description": made})
    with writing(pdf) as part:
        figure.savefig(part, format="pdf", facecolor="white", metadata={"Subject": made, "CreationDate": None})
