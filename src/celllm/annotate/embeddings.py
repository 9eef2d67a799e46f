"""`results/embeddings/{recipe}/{dataset}.parquet`: index cell_id; columns e0, e1, … and label; attrs: provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.base.parquet import read_frame


def read(path: Path | str) -> tuple[pd.Index, npt.NDArray[np.float32], npt.NDArray[np.str_]]:
    """Read cell ids, embeddings (cells x width) and labels.

    InputError if the label or the numbered columns are missing, or a value is not finite.
    """
    table = read_frame(path)
    if "cell_id" in table.columns:
        table = table.set_index("cell_id")
    wanted = [f"e{i}" for i in range(len(table.columns) - 1)]
    if set(table.columns) != {*wanted, "label"} or not wanted:
        raise InputError(
            file=path,
            field="columns",
            expected="e0, e1, … and label",
            found=", ".join(str(column) for column in table.columns[:10]),
            remedy="embed again: snakemake --forcerun embed_cells",
        )
    values = table[wanted].to_numpy(np.float32)
    if not np.isfinite(values).all():
        raise InputError(
            file=path,
            field="e0, e1, …",
            expected="finite numbers",
            found=f"{int((~np.isfinite(values)).sum())} that are not",
            remedy="the encoder diverged; lower the recipe's optimiser.learning_rate and pretrain again",
        )
    return table.index, values, table["label"].to_numpy(dtype=np.str_)


def write(
    cell_ids: Sequence[str],
    values: np.ndarray,
    labels: Sequence[str],
    path: Path | str,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write embeddings, cells x width, in the order of `cell_ids`."""
    table = pd.DataFrame(
        np.asarray(values, dtype=np.float32),
        index=pd.Index(cell_ids, name="cell_id"),
        columns=[f"e{i}" for i in range(values.shape[1])],
    )
    table["label"] = list(labels)
    table.attrs["provenance"] = dict(provenance or {})
    with writing(path) as part:
        table.to_parquet(part)
