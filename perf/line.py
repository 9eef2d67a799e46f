"""One line of JSON a figure: what was measured, beside a peer or bar, and whether it is good enough."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))


def line(
    name: str,
    value: float | None,
    unit: str,
    *,
    peer: str | None = None,
    ratio: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> dict[str, Any]:
    """Put a figure into the form that all benchmarks print; value None: not measured, and `peer` says why.

    `peer` did the same work in the same process, and ours was `ratio` times faster. The bars, at least and at most, are
    asked of the ratio, where there is one, else of the value; without a bar nothing is judged.
    """
    judged = value if ratio is None else ratio
    bar = at_least if at_most is None else at_most
    ok = None
    if judged is not None and bar is not None:
        ok = (at_least is None or judged >= at_least) and (at_most is None or judged <= at_most)
    return {"name": name, "value": value, "unit": unit, "peer": peer, "ratio": ratio, "bar": bar, "ok": ok}


def options(description: str | None) -> argparse.ArgumentParser:
    """Return the parser that all benchmarks begin with."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def show(figures: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    """Print figures as they come, as JSON or to be read."""
    for figure in figures:
        if as_json:
            print(json.dumps(figure), flush=True)
            continue
        verdict = {True: "ok", False: "NOT OK", None: ""}[figure["ok"]]
        told = figure["peer"] or "no peer"
        against = f"  {figure['ratio']:.1f} x {told}" if figure["ratio"] else f"  ({told})"
        bar = f"  bar {figure['bar']:g}" if figure["bar"] is not None else ""
        value = "-" if figure["value"] is None else f"{figure['value']:,.3f}"
        print(f"{figure['name']:28} {value:>12} {figure['unit']}{against}{bar}  {verdict}", flush=True)


def say(message: object) -> None:
    """Tell how far a long benchmark is, beside its figures."""
    print(message, file=sys.stderr, flush=True)


def in_turn(
    first: Callable[[], Any], second: Callable[[], Any], repeats: int, *, warm_up: bool = True
) -> tuple[float, float, float]:
    """Run two contenders in turn; return the median of each and the median ratio pair by pair.

    What is compared is what a contender returns, or its CPU seconds if that is no number.
    """
    pairs = []
    for number in range(repeats + warm_up):
        pair = []
        for run in (first, second):
            started = time.process_time()
            found = run()
            pair.append(found if isinstance(found, float) else time.process_time() - started)
        say(f"{number}: {pair[0]:.2f}, {pair[1]:.2f}")
        pairs.append(pair)
    a, b = np.array(pairs[warm_up:]).T
    return float(np.median(a)), float(np.median(b)), float(np.median(a / b))
