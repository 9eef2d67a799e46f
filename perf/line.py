"""One line of JSON a figure: what was measured, beside a peer or bar, and whether it is good enough."""

from __future__ import annotations

import json
from typing import Any


def line(
    name: str,
    value: float | None,
    unit: str,
    *,
    peer: str | None = None,
    ratio: float | None = None,
    bar: float | None = None,
    ok: bool | None = None,
) -> dict[str, Any]:
    """Put a figure into the form that all benchmarks print.

    Parameters
    ----------
    name, value, unit
        What was measured; None: not measured, and `peer` says why.
    peer, ratio
        Who did the same work in the same process, and how many times faster ours was; a peer that is not installed
        says so here and leaves the ratio out.
    bar, ok
        What is asked of `value` (of `ratio`, where there is one), and whether it is met; ok None: not judged.
    """
    return {"name": name, "value": value, "unit": unit, "peer": peer, "ratio": ratio, "bar": bar, "ok": ok}


def show(figure: dict[str, Any], *, as_json: bool) -> None:
    """Print a figure, as JSON or to be read."""
    if as_json:
        print(json.dumps(figure), flush=True)
        return
    verdict = {True: "ok", False: "NOT OK", None: ""}[figure["ok"]]
    against = f"  {figure['ratio']:.1f} x {figure['peer']}" if figure["ratio"] else f"  ({figure['peer'] or 'no peer'})"
    bar = f"  bar {figure['bar']:g}" if figure["bar"] is not None else ""
    value = "-" if figure["value"] is None else f"{figure['value']:,.3f}"
    print(f"{figure['name']:28} {value:>12} {figure['unit']}{against}{bar}  {verdict}", flush=True)
