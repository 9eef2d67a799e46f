"""GDSC's drug responses: the release as cancerrxgene.org publishes it, and a copy that carries SMILES."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from celllm.base.parquet import read_frame
from celllm.sources.archives import BROKEN, unreadable
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.texts import plain, read_texts, require

FITTED: Final = ("DATASET", "COSMIC_ID", "CELL_LINE_NAME", "SANGER_MODEL_ID", "DRUG_ID", "DRUG_NAME", "LN_IC50")
LINES: Final = ("DepMap_ID", "COSMICID", "Sanger_Model_ID")
DRUGS: Final = ("drug_id", "PubCHEM")
TGSA: Final = {"Drug name": "drug", "IC50": "ln_ic50", "drug_name": "drug", "CanonicalSMILES": "smiles"}


def read_gdsc_tgsa(manifest: RawManifest) -> tuple[pd.DataFrame, Mapping[str, int]]:
    """Read TGSA's long table of GDSC, csv or parquet, and its table of SMILES, which files.tsv names behind it."""
    if len(manifest.files) != 2:
        expected = "two tables: the pairs, then the SMILES"
        raise manifest.other_files(expected)
    pairs_file, smiles_file = (file.path for file in manifest.files)
    pairs = read_frame(pairs_file) if pairs_file.suffix == ".parquet" else read_texts(pairs_file)
    pairs = pairs.rename(columns=TGSA)
    require(pairs, ("drug", "DepMap_ID", "ln_ic50"), pairs_file)
    pairs["ln_ic50"] = pd.to_numeric(pairs["ln_ic50"], errors="coerce")
    smiles = _known(read_texts(smiles_file, errors="replace").rename(columns=TGSA))
    require(smiles, ("drug", "smiles"), smiles_file)
    joined = pairs.merge(smiles, on="drug", how="left", validate="many_to_one")
    without = joined["drug"][joined["smiles"].isna()].unique()
    if len(without):
        expected, found = f"a SMILES for every drug of {pairs_file.name}", ", ".join(map(str, without[:5]))
        remedy = "add them, or drop the drugs from the responses"
        raise unreadable(smiles_file, expected, f"none for {found}", field="drug", remedy=remedy)
    return joined.rename(columns={"DepMap_ID": "line", "ln_ic50": "response"}), {}


def read_gdsc_xlsx(manifest: RawManifest) -> tuple[pd.DataFrame, Mapping[str, int]]:
    """Read a release of GDSC, with lines as DepMap ids and drugs as SMILES; and count the curves that are no pair.

    Four files, told apart by their names and columns; others, such as Cell_Lines_Details.xlsx, are not needed:

    - `GDSC2_fitted_dose_response_27Oct23.xlsx`: a row a fitted curve; LN_IC50 is ln of µM.
    - DepMap's `sample_info.csv`: a line is found by its Sanger id, else by its COSMIC id; an id that means two DepMap
      lines means none.
    - A list of drugs, csv, with drug_id and PubCHEM.
    - PubChem id and SMILES, tab-separated txt without a header.

    A drug is its DRUG_ID: the same name under two ids was screened twice, from two stocks. Several curves of one
    pair are averaged. InputError if a file is missing, broken or lacks a column; or no pair is left.
    """
    releases = [file for file in manifest.ending(".xlsx") if "fitted_dose_response" in file.name]
    if len(releases) != 1:
        expected = "one file GDSC*_fitted_dose_response_*.xlsx"
        raise manifest.other_files(expected)
    path = releases[0].path
    fitted = _fitted(path)
    line = _lines(_with_columns(manifest, LINES), fitted)
    smiles = fitted["DRUG_ID"].map(_smiles(manifest))
    kept = line.notna() & smiles.notna()
    pairs = pd.DataFrame({"line": line, "drug": fitted["DRUG_ID"], "smiles": smiles, "response": fitted["LN_IC50"]})
    pairs = pairs[kept]
    table = pairs.groupby(["line", "drug"], as_index=False, sort=True).agg({"smiles": "first", "response": "mean"})
    if table.empty:
        field, found = "SANGER_MODEL_ID, COSMIC_ID, DRUG_ID", f"none among {len(fitted)} curves"
        found += f" ({int(line.notna().sum())} with a line)"
        remedy = "check that the tables of lines and of drugs beside it in config/files.tsv are those of GDSC"
        raise unreadable(path, "lines of sample_info.csv and drugs with SMILES", found, field=field, remedy=remedy)
    return table, {
        "curves without a DepMap line": int(line.isna().sum()),
        "curves without SMILES of the drug": int((line.notna() & smiles.isna()).sum()),
        "curves averaged with another of their pair": len(pairs) - len(table),
    }


def _fitted(path: Path) -> pd.DataFrame:
    """Read the columns of FITTED, ids as text."""
    from openpyxl.utils.exceptions import InvalidFileException  # type: ignore[import-untyped] # it has no types

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Workbook contains no default style", category=UserWarning)
            ids = dict.fromkeys(("COSMIC_ID", "SANGER_MODEL_ID", "DRUG_ID"), str)
            table = pd.read_excel(path, engine="openpyxl", usecols=lambda name: name in FITTED, dtype=ids)
    except (*BROKEN, LookupError, SyntaxError, ValueError, InvalidFileException) as error:
        raise unreadable(path, "an xlsx file", error) from None
    require(table, FITTED, path)
    is_blank = table.map(lambda value: value is None or value != value or not str(value).strip()).all(axis=1)
    table = table[~is_blank]
    numbers = pd.to_numeric(table["LN_IC50"], errors="coerce")
    if numbers.isna().any():
        row = int(numbers.isna().to_numpy().argmax())
        field = f"LN_IC50 in row {table.index[row] + 2}"
        raise unreadable(path, "a number", repr(table["LN_IC50"].iloc[row]), field=field)
    return table.assign(LN_IC50=numbers)


def _lines(file: RawFile, fitted: pd.DataFrame) -> pd.Series[str]:
    """Return the DepMap id of each curve's line, missing where there is none."""
    info = _known(read_texts(file.path, errors="replace"))
    by_sanger = _unique(info, "Sanger_Model_ID")
    by_cosmic = _unique(info.assign(COSMICID=info["COSMICID"].str.removesuffix(".0")), "COSMICID")
    return fitted["SANGER_MODEL_ID"].map(by_sanger).fillna(fitted["COSMIC_ID"].map(by_cosmic))


def _unique(info: pd.DataFrame, column: str) -> pd.Series[str]:
    known = info.dropna(subset=[column, "DepMap_ID"]).drop_duplicates([column, "DepMap_ID"])
    known = known[~known[column].duplicated(keep=False)]
    return known.set_index(column)["DepMap_ID"]


def _smiles(manifest: RawManifest) -> pd.Series[str]:
    """Return SMILES by drug id; a drug whose PubChem id is `none`, `several` or unknown has none."""
    drugs_file, smiles_file = _with_columns(manifest, DRUGS).path, manifest.ending(".txt")[0].path
    drugs = _known(read_texts(drugs_file, errors="replace"))
    smiles = _known(read_texts(smiles_file, header=False, errors="replace"))
    if smiles.shape[1] != 2 or not smiles[0].is_unique:
        found = f"{smiles.shape[1]} columns" if smiles.shape[1] != 2 else "an id twice"
        raise unreadable(smiles_file, "PubChem id and SMILES, tab-separated, each id once", found)
    if not drugs["drug_id"].is_unique:
        raise unreadable(drugs_file, "each drug_id once", "one more than once")
    # beside a missing one pandas writes ids as 11.0
    found_smiles = drugs.set_index("drug_id")["PubCHEM"].map(plain, "ignore").map(smiles.set_index(0)[1])
    return found_smiles.dropna()


def _with_columns(manifest: RawManifest, columns: tuple[str, ...]) -> RawFile:
    """Return the csv file of the dataset that has these columns."""
    headers = [
        (file, [str(name) for name in read_texts(file.path, n_rows=0, errors="replace")])
        for file in manifest.ending(".csv")
    ]
    for file, header in headers:
        if set(columns) <= set(header):
            return file
    found = "; ".join(f"{file.name} with {', '.join(header[:8])}" for file, header in headers)
    expected = f"a csv file with the columns {', '.join(columns)}"
    remedy = "add the file to the dataset's rows in config/files.tsv"
    raise unreadable(manifest.file, expected, found, field="files", remedy=remedy)


def _known(table: pd.DataFrame) -> pd.DataFrame:
    return table.mask(table.isin(["", "NA", "NaN", "nan"]))
