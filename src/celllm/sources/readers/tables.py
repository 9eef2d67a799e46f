"""Readers of published text tables: CancerSCEM, Drop-seq, csv, TPM with cell information, DepMap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.archives import chained, members, opened, reading, wrong_members
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
DONOR: Final = re.compile(r"(human\d+)_umifm_counts\.csv(?:\.gz)?$")
"""A human donor's table in GSE84133_RAW.tar, `GSM2230757_human1_umifm_counts.csv.gz`."""


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

    Line 1 of the TPM is the cells' names. Columns of the table: groups (the cell's name), cell_color (line, such as
    HN120PCR), patient_id, origin, drug_status, cluster (Sensitive, Resistant or Holiday). `obs` gets these and
    `patient`: HN120, HN137 or HN148, as patient_id or else cell_color has it.
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


def read_baron_raw_tar(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read the human donors of GSE84133_RAW.tar: members `GSM…_human1_umifm_counts.csv.gz`, cells x genes.

    Line 1 of a member is `""`, barcode, assigned_cluster, then the genes. The sample is the donor, human1 to human4.
    The two mouse members are passed over: they hold other genes.
    """
    for file in manifest.ending(".tar"):
        n_donors, names_found = 0, []
        for name, stream in members(file.path):
            names_found.append(name)
            donor = DONOR.search(name)
            if donor is None:
                continue
            n_donors += 1
            table = TextTable(stream, f"{file.path}: {name}", separator=",", n_texts=3)
            if table.text_names[1:] != ["barcode", "assigned_cluster"]:
                raise wrong_members(
                    file.path,
                    expected="members whose columns are a name, barcode, assigned_cluster, then genes",
                    found=[f"{name} with the columns {', '.join(table.text_names)}, …"],
                )
            for texts, matrix in table.rows():
                obs = texts.set_axis(["cell", "barcode", "assigned_cluster"], axis=1).set_index("cell")
                yield replace(RawCells.of(file, matrix, table.columns, obs), sample=donor[1])
        if not n_donors:
            raise wrong_members(file.path, expected="GSM…_human1_umifm_counts.csv.gz", found=names_found)


def read_depmap_csv(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read DepMap's `CCLE_expression.csv`: cell lines x genes, log2(TPM + 1), comma-separated.

    Line 1 is an empty field and `SYMBOL (Entrez id)` a gene; rows begin with the line's DepMap id, `ACH-000001`. Since
    2025 columns of texts stand before the genes: the line is then `ModelID`, and profiles that are not its default
    (`IsDefaultEntryForModel`) are left out.
    """
    for file in manifest.ending("expression.csv", "expression.csv.gz"):
        with reading(file.path, "cell lines x genes, comma-separated"), opened(file.path) as stream:
            header = stream.readline()
            fields = header.decode("utf-8-sig").rstrip().replace('"', "").split(",")
            n_texts = next((i for i, name in enumerate(fields) if i and WITH_ID.fullmatch(name)), 1)
            table = TextTable(chained(header, stream), file.path, separator=",", n_texts=n_texts)
            for texts, matrix in table.rows():
                named = texts.set_axis(table.text_names, axis=1)
                is_default = (named[DEFAULT] == "Yes" if DEFAULT in named else named.iloc[:, 0].notna()).to_numpy()
                lines = named[MODEL] if MODEL in named else named.iloc[:, 0]
                yield RawCells.of(file, matrix[np.flatnonzero(is_default)], table.columns, lines[is_default])


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
            raise InputError(
                file=info.path,
                field="patient_id, cell_color",
                expected="a patient such as HN120",
                found=f"{', '.join(row) or 'no such column'} for cell {cell}",
                remedy="fetch the file again; if it is whole, its layout is new: adapt sources/readers/tables.py",
            )
        patients.append(found[0])
    return patients
