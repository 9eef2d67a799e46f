"""Which class is taken for which: a heat map, rows adding up to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure

from celllm.report.figures import style

# With more classes the numbers in the cells would overlap.
_MOST_NUMBERED = 15
# Share above which the blue is too dark for black type.
_DARK = 0.5


def confusion_shares(truth: Iterable[str], predicted: Iterable[str], classes: Sequence[str]) -> np.ndarray:
    """Return, for each true class (row), the share predicted as each class (column).

    A class that is never true has a row of nan: there is nothing to share out.
    """
    place = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, ([place[name] for name in truth], [place[name] for name in predicted]), 1)
    totals = counts.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    return shares


def draw_confusion(
    shares: np.ndarray,
    classes: Sequence[str],
    *,
    support: Sequence[int],
    title: str,
    subtitle: str,
) -> Figure:
    """Draw row shares as a heat map.

    Parameters
    ----------
    shares
        Rows true, columns predicted; each row adds up to one or is nan.
    classes
        Their names, in the order of `shares`.
    support
        Test cells of each true class, over all splits and model seeds.
    title, subtitle
        Task, with the word simulated where it is due; method and runs.
    """
    n = len(classes)
    longest = max(len(name) for name in classes)
    with style():
        side = max(2.6, 0.46 * n)
        figure = Figure(figsize=(side + 0.075 * longest + 2.4, side + 0.06 * longest + 1.4), layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="equal")
        axis.set_xticks(range(n), labels=list(classes), rotation=45, ha="right", rotation_mode="anchor")
        labels = [f"{name}  (n = {count:,})" for name, count in zip(classes, support, strict=True)]
        axis.set_yticks(range(n), labels=labels)
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class")
        axis.tick_params(length=0)
        for side_name in ("left", "bottom"):
            axis.spines[side_name].set_visible(False)
        if n <= _MOST_NUMBERED:
            for i, j in np.argwhere(shares >= 0.005):
                colour = "white" if shares[i, j] > _DARK else "black"
                axis.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=7.5)
        bar = figure.colorbar(image, ax=axis, shrink=0.8, pad=0.02)
        bar.set_label("share of the true class" + (" (numbers: %)" if n <= _MOST_NUMBERED else ""))
        bar.outline.set_visible(False)
        figure.suptitle(f"{title}\n{subtitle}")
        return figure
