"""Text tables with a line a cell: cell name, columns of `obs`, then genes."""

from __future__ import annotations

from collections.abc import Iterator

from celllm.config.tables import Dataset
from celllm.sources.archives import chained, opened, reading
from celllm.sources.raw import RawManifest
from celllm.sources.readers.cells import RawCells
from celllm.sources.readers.text import TextTable


def read_cells_by_genes(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read tables of cells x genes, comma-separated where the name says csv, else tab-separated.

    Leading columns that the dataset's row names (label, sample, donor, values of `obs`) are columns of `obs`.
    """
    taken = [said if isinstance(said, str) else next(iter(said)) for said in dataset.obs.values()]
    named = {dataset.label_column, dataset.sample_column, dataset.donor_column, *taken}
    for file in manifest.files:
        separator = "," if ".csv" in file.name else "\t"
        with reading(file.path, "cells x genes as text"), opened(file.path) as stream:
            header = stream.readline()
            columns = [name.strip('"') for name in header.decode("utf-8-sig").rstrip("\r\n").split(separator)]
            n_texts = 1 + next((n for n, name in enumerate(columns[1:]) if name not in named), 0)
            table = TextTable(chained(header, stream), file.path, separator=separator, n_texts=n_texts)
            for texts, matrix in table.rows():
                obs = texts.set_axis(["", *table.text_names[1:]], axis=1).set_index("")
                yield RawCells.of(file, matrix, table.columns, obs)
