"""Readers of published text tables, genes x cells (CancerSCEM, Drop-seq, csv, TPM) or cells x genes (GEO, DepMap)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO, Final

import numpy as np
import pandas as pd

from celllm.config.tables import Dataset
from celllm.sources.archives import chained, opened, reading, unreadable
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells, Reader, in_pieces
from celllm.sources.readers.labels import Labels
from celllm.sources.readers.text import TextTable, genes_by_cells

PATIENT: Final = re.compile(r"HN\d+")
"""A patient's line in GSE117872: HN120, HN137 or HN148."""
WITH_ID: Final = re.compile(r".+ \(\w+\)")
"""DepMap's name of a gene, `TP53 (7157)`."""
MODEL, DEFAULT = "ModelID", "IsDefaultEntryForModel"
"""DepMap's columns of the line's id, and of whether a profile is the one that stands for its line."""


def _of_genes_by_cells(separator: str, *endings: str) -> Reader:
    """Make a reader of tables of genes x cells, one file a sample, whose line 1 holds the cells' names."""

    def read(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
        for file in manifest.ending(*endings):
            yield from in_pieces(_whole(file, separator))

    return read


TEXTS: Final = tuple(f"{ending}{packed}" for ending in (".tsv", ".csv", ".txt", ".tab") for packed in ("", ".gz"))
"""Endings of tables of any separator, which is seen by the first two lines."""
read_cancerscem_tsv = _of_genes_by_cells("\t", *TEXTS)
"""CancerSCEM's `SAMPLE.counts.matrix.tsv.gz`, ngdc.cncb.ac.cn/cancerscem/downloads: R wrote it."""
read_dge = _of_genes_by_cells("\t", ".dge.txt.gz", ".dge.txt")
"""Drop-seq's digital expression tables (Drop-seq tools, DigitalExpression). Barcodes are not filtered: most may be
nearly empty."""
read_csv_genes_by_cells = _of_genes_by_cells(",", *TEXTS)
"""Comma-separated counts as R's `write.csv` leaves them."""


def read_tpm_with_cells(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read GSE117872: TPM, genes x cells, and the table `*cellinfo.txt.gz` beside it; both tab-separated.

    Columns of the table: groups (the cell's name), cell_color (line, such as HN120PCR), patient_id, origin,
    drug_status, cluster (Sensitive, Resistant or Holiday). `obs` gets these and `patient`: HN120, HN137 or HN148, as
    patient_id or else cell_color has it.
    """
    infos = manifest.ending("cellinfo.txt.gz", "cellinfo.txt")
    others = [file for file in manifest.files if file not in infos]
    if len(infos) != 1 or len(others) != 1:
        expected = "two files: TPM and cellinfo"
        raise manifest.other_files(expected)
    labels = Labels.read(infos[0], key=("groups", "cell", "Unnamed: 0"))
    cells = _whole(others[0], "\t")
    obs = labels.beside(cells.obs, cells=cells.file)
    labels.check_all_met()
    yield from in_pieces(replace(cells, obs=obs.assign(patient=_patients(obs, infos[0]))))


def read_cells_by_genes(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read tables of cells x genes, comma-separated where the name says csv, else tab-separated.

    Leading columns that the dataset's row names (label, sample, donor, values of `obs`) are columns of `obs`.
    """
    taken = [said if isinstance(said, str) else next(iter(said)) for said in dataset.obs.values()]
    named = {dataset.label_column, dataset.sample_column, dataset.donor_column, *taken}
    for file in manifest.files:
        with opened(file.path) as stream:
            separator = "," if ".csv" in file.name else "\t"
            yield from _cells_by_genes(file, stream, separator=separator, is_gene=lambda name: name not in named)


def read_depmap_csv(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read DepMap's `CCLE_expression.csv`: cell lines x genes, log2(TPM + 1), comma-separated.

    Line 1 is an empty field and `SYMBOL (Entrez id)` a gene; rows begin with the line's DepMap id, `ACH-000001`. Since
    2025 columns of texts stand before the genes: the line is then `ModelID`, and profiles that are not its default
    are left out.
    """
    for file in manifest.ending("expression.csv", "expression.csv.gz"):
        with opened(file.path) as stream:
            for cells in _cells_by_genes(file, stream, separator=",", is_gene=WITH_ID.fullmatch):
                obs = cells.obs if MODEL not in cells.obs else cells.obs.set_index(MODEL)
                is_default = obs[DEFAULT].eq("Yes").to_numpy() if DEFAULT in obs else np.ones(len(obs), dtype=bool)
                kept = obs.index[is_default]
                yield replace(cells, matrix=cells.matrix[np.flatnonzero(is_default)], obs=pd.DataFrame(index=kept))


def _cells_by_genes(
    file: RawFile, stream: IO[bytes], *, separator: str, is_gene: Callable[[str], object]
) -> Iterator[RawCells]:
    """Read a table with a line a cell: its name, columns of `obs` up to the first gene, then genes."""
    with reading(file.path, "cells x genes as text"):
        header = stream.readline()
        names = [name.strip('"') for name in header.decode("utf-8-sig").rstrip("\r\n").split(separator)]
        n_texts = 1 + next((n for n, name in enumerate(names[1:]) if is_gene(name)), 0)
        table = TextTable(chained(header, stream), file.path, separator=separator, n_texts=n_texts)
        for texts, matrix in table.rows():
            obs = texts.set_axis(["", *table.text_names[1:]], axis=1).set_index("")
            yield RawCells.of(file, matrix, table.columns, obs)


def _whole(file: RawFile, separator: str) -> RawCells:
    """Read a table of genes x cells, of which no part is complete before its end."""
    with reading(file.path, "genes x cells as text"), opened(file.path) as stream:
        matrix, names, barcodes = genes_by_cells(TextTable(stream, file.path, separator=separator))
    return RawCells.of(file, matrix, names, barcodes)


def _patients(obs: pd.DataFrame, info: RawFile) -> list[str]:
    columns = [column for column in ("patient_id", "cell_color") if column in obs.columns]
    patients = []
    for cell, row in zip(obs.index, obs[columns].to_numpy().tolist(), strict=True):
        found = next((hit for hit in map(PATIENT.search, row) if hit), None)
        if found is None:
            said, field = f"{', '.join(row) or 'no such column'} for cell {cell}", "patient_id, cell_color"
            remedy = "fetch the file again; if it is whole, its layout is new: adapt sources/readers/tables.py"
            raise unreadable(info.path, "a patient such as HN120", said, field=field, remedy=remedy)
        patients.append(found[0])
    return patients
