"""Every table and figure of the report by name, and what reads the files it needs.

An item is a function; its parameters are names of `READERS`, and `subject`: what follows the first slash of the item's
name, such as the task of `per_drug/cell_line_cold`. Modules are imported when an item of theirs is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final

from celllm.base.errors import InputError
from celllm.config.explain import unknown

Inputs = Mapping[str, Sequence[str]]
"""Files by role, as options of a command line."""

ITEMS: Final = {
    "report_table": {
        "main": "celllm.report.main_table:main_table",
        "comparisons": "celllm.report.comparisons:comparisons_table",
        "claims": "celllm.report.claims:claims_table",
        "costs": "celllm.report.main_table:costs_table",
        "per_drug": "celllm.report.figures.drugs:per_drug_table",
        "failures": "celllm.report.main_table:failures_table",
        "controls": "celllm.report.comparisons:controls_table",
        "corpus": "celllm.report.data:corpus_table",
        "harmonisation": "celllm.report.data:harmonisation_table",
        "audit_leakage": "celllm.report.leakage:leakage_tables",
        "details": "celllm.report.details:tables_of_details",
    },
    "report_figure": {
        "scores": "celllm.report.figures.benchmark:draw_scores",
        "fewshot": "celllm.report.figures.benchmark:draw_fewshot",
        "per_drug": "celllm.report.figures.drugs:draw_per_drug",
        "confusion": "celllm.report.figures.cells:draw_confusions",
        "umap": "celllm.report.figures.maps:draw_embeddings",
        "curves": "celllm.report.figures.pretraining:draw_curves",
        "step_cost": "celllm.report.figures.pretraining:draw_cost_of_encoder",
    },
    "audit_encoder": {
        "audit_source": "celllm.report.audits:source_tables",
        "audit_embeddings": "celllm.report.audits:embeddings_table",
    },
}
"""By command."""
READERS: Final = {
    "catalogue": ("catalogue", "celllm.config.catalogue:read"),
    "results": ("scores", "celllm.report.results:read"),
    "failures": ("failures", "celllm.bench.scores:read_failures"),
    "predictions": ("runs", "celllm.report.results:read_predictions"),
    "harmonisation": ("harmonisation", "celllm.report.data:read_harmonisation"),
    "corpus": ("shards", "celllm.corpus.reader:ShardReader"),
    "histories": ("history", "celllm.report.data:read_histories"),
    "cost": ("cost", "celllm.pretrain.step_cost:read"),
    "recipes": ("recipes", "celllm.report.details:read_recipes"),
    "genes": ("vocabulary", "celllm.harmonise.vocabulary:read"),
    **{name: (name, None) for name in ("embeddings", "encoder", "cells", "benchmark_cells", "splits", "runs")},
}
"""By parameter of an item: the input with its file or files, and what reads them; None: the item does."""
SEVERAL: Final = ("runs", "harmonisation", "cells", "benchmark_cells", "splits", "history")
"""Inputs of several files."""


def build(command: str, name: str, inputs: Inputs, **made: object) -> Any:  # noqa: ANN401 - a figure, or a table or several
    """Make a table or figure; `made` are parameters of the item that are no input.

    InputError if there is none of that name, or an input that it needs is missing.
    """
    kind, _, subject = name.partition("/")
    if kind not in ITEMS[command]:
        raise unknown(kind, ITEMS[command], file="command line", field="name")
    make = resolve_name(ITEMS[command][kind])
    given = {name.replace("-", "_"): files for name, files in inputs.items()}
    known = [name for name, _ in READERS.values()]
    for option in given:
        if option not in known:
            raise unknown(option, known, file="command line", field=f"inputs of {name}")
    needed = {role: one for role, one in inspect.signature(make).parameters.items() if role not in made}
    has_subject = needed.pop("subject", None) is not None
    files = {role: _paths(READERS[role][0], given) for role in needed}
    missing = [READERS[role][0] for role, one in needed.items() if files[role] is None and one.default is one.empty]
    if missing or has_subject != bool(subject):
        raise InputError(
            file="command line",
            field=f"inputs of {name}",
            expected=", ".join(READERS[role][0] for role in needed),
            found=f"no {', '.join(missing)}" if missing else f"the name {name}",
            remedy="give the files" if missing else f"name it {kind}/NAME" if has_subject else f"name it {kind}",
        )
    for role, found in files.items():
        reader = READERS[role][1]
        if found is not None:
            made[role] = found if reader is None else resolve_name(reader)(found)
    return make(**made, **({"subject": subject} if has_subject else {}))


def _paths(name: str, given: Inputs) -> Path | list[Path] | str | None:
    """Return the file of an input, or its files; recipes are no file but their JSON."""
    if name not in given:
        return None
    if name in SEVERAL:
        return [Path(file) for file in given[name]]
    return given[name][0] if name == "recipes" else Path(given[name][0])


def files_of(inputs: Inputs) -> dict[str, Path]:
    """Return files by role, or by their own path where a role has several."""
    return {file if name in SEVERAL else name: Path(file) for name, files in inputs.items() for file in files}
