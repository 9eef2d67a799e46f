"""`results/splits/{task}/split{seed}.parquet`: which unit of a task belongs to which subset.

Columns unit, subset (`train`, `validation`, `test`, or `unused`: in no subset). A unit is a cell id, or
`{line}|{drug}`. Schema metadata `celllm`, JSON: task, seed, provenance. Beside the splits of a task, written last,
`manifest.json`: task, splits (file names), provenance.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from celllm.base.atomic import writing
from celllm.base.errors import InputError

Subset = Literal["train", "validation", "test", "unused"]
SUBSETS: tuple[Subset, ...] = ("train", "validation", "test", "unused")
KEY = b"celllm"


@dataclass(frozen=True)
class Split:
    """The subset of each unit of a task for one seed; errors name the `file` it was read from."""

    task: str
    seed: int
    units: list[str]
    subsets: NDArray[np.str_]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    file: Path | str = "split"

    def units_of(self, subset: Subset) -> list[str]:
        """Return the units of a subset, in the order of the file."""
        return [unit for unit, of_unit in zip(self.units, self.subsets, strict=True) if of_unit == subset]

    def rows(self, subset: Subset, units: Sequence[str]) -> NDArray[np.int64]:
        """Return where the units of a subset stand in `units`, the task's units as the data has them; ascending.

        InputError if the split and the data do not have the same units: one of the two is out of date.
        """
        subset_of = dict(zip(self.units, self.subsets.tolist(), strict=True))
        strange = next((unit for unit in units if unit not in subset_of), None)
        if strange is not None or len(units) != len(self.units):
            found = f"{len(self.units)} units" + ("" if strange is None else f", {strange} not among them")
            raise _refused(self.file, "unit", f"the units of the data, {len(units)} of them", found)
        return np.flatnonzero(np.array([subset_of[unit] for unit in units], dtype=str) == subset).astype(np.int64)


def write(split: Split, path: Path | str) -> None:
    """Check and write a split."""
    _check(split, path)
    columns = {"unit": split.units, "subset": split.subsets.tolist()}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    meta = {"task": split.task, "seed": split.seed, "provenance": dict(split.provenance)}
    with writing(path) as part:
        pq.write_table(table.replace_schema_metadata({KEY: json.dumps(meta, sort_keys=True).encode()}), part)


def read(path: Path | str) -> Split:
    """Read a split; InputError if a column or the metadata is missing, a unit occurs twice or a subset is unknown."""
    table = pq.read_table(path)
    stored = (table.schema.metadata or {}).get(KEY)
    if stored is None or not {"unit", "subset"} <= set(table.column_names):
        found = f"{', '.join(table.column_names)}; {'the key' if stored is not None else 'no such key'}"
        raise _refused(path, "columns and schema metadata", "unit, subset; the key celllm", found)
    units, subsets = table["unit"].to_pylist(), np.array(table["subset"].to_pylist(), dtype=str)
    split = Split(units=units, subsets=subsets, file=path, **json.loads(stored))
    _check(split, path)
    return split


def request_of(path: Path | str) -> str | None:
    """Return the digest of what a split, or predictions, were made from; None where there is no such file."""
    try:
        stored = (pq.read_schema(path).metadata or {}).get(KEY)
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    found: str | None = json.loads(stored or b"{}").get("provenance", {}).get("request")
    return found


def write_manifest(splits: Iterable[Path], path: Path | str, *, task: str, provenance: Mapping[str, Any]) -> None:
    """Write the list of a task's splits, which lie beside it."""
    listed = {"task": task, "splits": [split.name for split in splits], "provenance": dict(provenance)}
    with writing(path) as part:
        part.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Return split files; a `manifest.json` among the paths stands for all that it lists."""
    found = []
    for path in paths:
        is_list = path.suffix == ".json"
        found += [path.with_name(name) for name in json.loads(path.read_text())["splits"]] if is_list else [path]
    return found


def _check(split: Split, path: Path | str) -> None:
    unknown = sorted(set(split.subsets.tolist()) - set(SUBSETS))
    n_units = len(set(split.units))
    if unknown:
        raise _refused(path, "subset", f"one of {', '.join(SUBSETS)}", unknown[0])
    if n_units != len(split.units):
        raise _refused(path, "unit", "each unit once", f"{len(split.units)} units, {n_units} different ones")
    if len(split.subsets) != len(split.units):
        raise _refused(path, "subset", f"one for each of {len(split.units)} units", str(len(split.subsets)))


def _refused(path: Path | str, field: str, expected: str, found: str) -> InputError:
    remedy = "remove the file and make it again: snakemake --forcerun make_splits"
    return InputError(file=path, field=field, expected=expected, found=found, remedy=remedy)
