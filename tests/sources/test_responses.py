"""Drug responses: one form, whatever they came in."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.sources import responses
from celllm.sources.responses import Responses

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
RELEASE = {
    "fitted": FIXTURES / "simulated_GDSC2_fitted_dose_response.xlsx",
    "lines": FIXTURES / "simulated_sample_info.csv",
    "drugs": FIXTURES / "simulated_gdsc_drug_list.csv",
    "smiles": FIXTURES / "simulated_pubchem_smiles.txt",
}
TABLE = pd.DataFrame(
    {"line": ["l1", "l1", "l2"], "drug": ["d1", "d2", "d1"], "smiles": ["C", "CC", "C"], "response": [0.5, -1.0, 2.0]},
)


def test_responses_read_back_what_was_written(tmp_path):
    responses.write(Responses(table=TABLE, simulated=True), tmp_path / "r.parquet")
    back = responses.read(tmp_path / "r.parquet")
    pd.testing.assert_frame_equal(back.table, TABLE)
    assert back.simulated is True
    TABLE.to_parquet(tmp_path / "r.parquet")
    with pytest.raises(InputError, match="metadata simulated"):
        responses.read(tmp_path / "r.parquet")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.concat([TABLE, TABLE[:1]]), "l1 with d1 more than once"),
        (TABLE.assign(response=[0.5, np.nan, 2.0]), "none for l1 with d2"),
        (TABLE.assign(response=[0.5, np.inf, 2.0]), "none for l1 with d2"),
    ],
    ids=["a pair twice", "nan", "infinite"],
)
def test_a_table_out_of_form_is_refused(tmp_path, table, message):
    with pytest.raises(InputError, match=message):
        responses.write(Responses(table=table, simulated=False), tmp_path / "r.parquet")
    assert not (tmp_path / "r.parquet").exists()


def test_gdsc_pairs_get_the_smiles_of_their_drug_and_one_without_is_named(tmp_path, rows, manifest_of):
    pairs = pd.DataFrame({"drug": ["d2", "d1"], "DepMap_ID": ["l1", "l1"], "ln_ic50": [1.0, 2.0]})
    pairs.to_parquet(tmp_path / "p.parquet")
    (tmp_path / "s.csv").write_text("drug,smiles\nd1,C\nd2,CC\n")
    made = responses.read_raw(manifest_of(tmp_path / "p.parquet", tmp_path / "s.csv"), rows.row("gdsc_tgsa"))
    assert made.table.to_numpy().tolist() == [["l1", "d1", "C", 2.0], ["l1", "d2", "CC", 1.0]]
    (tmp_path / "PANCANCER.csv").write_text("Drug name,DepMap_ID,IC50,Tissue\nd2,l1,1.0,lung\nd1,l1,2.0,lung\n")
    (tmp_path / "drug_smiles.csv").write_text("drug_name,CID,CanonicalSMILES\nd1,7,C\nd2,8,CC\n")
    published = manifest_of(tmp_path / "PANCANCER.csv", tmp_path / "drug_smiles.csv")
    pd.testing.assert_frame_equal(responses.read_raw(published, rows.row("gdsc_tgsa")).table, made.table)
    (tmp_path / "s.csv").write_text("drug,smiles\nd1,C\n")
    with pytest.raises(InputError, match="none for d2"):
        responses.read_raw(manifest_of(tmp_path / "p.parquet", tmp_path / "s.csv"), rows.row("gdsc_tgsa"))


def test_a_reader_that_gives_no_responses_is_named(tmp_path, rows, manifest_of):
    TABLE.to_parquet(tmp_path / "p.parquet")
    row = dataclasses.replace(rows.row("gdsc_tgsa"), reader="loom")
    with pytest.raises(InputError, match=r"(?s)one of gdsc_tgsa, gdsc_xlsx, h5ad.*found: +loom"):
        responses.read_raw(manifest_of(tmp_path / "p.parquet"), row)


def test_real_responses_have_their_published_numbers(tmp_path, rows, mirror, manifest_of):
    manifest = manifest_of(
        mirror / "gdsc_ic50_tgsa_82833.parquet",
        mirror / "gdsc_ic50_tgsa_drug_smiles.csv",
    )
    table = responses.read_raw(manifest, rows.row("gdsc_tgsa")).table
    assert len(table) == 82_833
    assert table["drug"].nunique() == 170
    assert table["line"].nunique() == 580
    assert table["response"].min() == pytest.approx(-8.45, abs=0.01)


@pytest.fixture
def release(manifest_of):
    """Make a manifest of a simulated release, some of its files exchanged."""
    return lambda **changed: manifest_of(*(RELEASE | changed).values())


def test_a_gdsc_release_gets_depmap_lines_and_smiles_whatever_lies_beside_it(tmp_path, rows, release):
    shutil.copyfile(RELEASE["fitted"], tmp_path / "Cell_Lines_Details.xlsx")
    (tmp_path / "screened_compounds.csv").write_bytes("DRUG_ID,SYNONYMS\n1003,\u00b5\n".encode("latin-1"))
    beside = {"details": tmp_path / "Cell_Lines_Details.xlsx", "compounds": tmp_path / "screened_compounds.csv"}
    made = responses.read_raw(release(**beside), rows.row("gdsc2"))
    # PFSK-1 and A673 are found by their Sanger id, ES3 by its COSMIC id; A673 with 1003 was measured twice
    assert made.table.to_dict("list") == {
        "line": ["ACH-000001", "ACH-000003", "ACH-000052", "ACH-000052"],
        "drug": ["1003", "1003", "1003", "9999"],
        "smiles": ["CCO"] * 4,
        "response": [-1.463887, -3.360586, pytest.approx((-4.869455 - 4.0) / 2), 0.25],
    }
    assert made.left_out == {
        "curves without a DepMap line": 1,
        "curves without SMILES of the drug": 1,
        "curves averaged with another of their pair": 1,
    }
    assert sum(made.left_out.values()) + len(made.table) == 7


def test_an_id_that_means_two_depmap_lines_means_none(tmp_path, rows, release):
    (tmp_path / "lines.csv").write_text(RELEASE["lines"].read_text() + "ACH-999999,other,684052,SIDM00848\n")
    made = responses.read_raw(release(lines=tmp_path / "lines.csv"), rows.row("gdsc2"))
    assert "ACH-000052" not in set(made.table["line"])
    assert made.left_out["curves without a DepMap line"] == 5


def test_a_release_that_lacks_something_is_refused_with_what_is_there(tmp_path, rows, release):
    shutil.copyfile(RELEASE["fitted"], tmp_path / "GDSC1_fitted_dose_response.xlsx")
    (tmp_path / "s.txt").write_text("1\tCCO\n")
    columns = r"a csv file with the columns DepMap_ID, COSMICID, Sanger_Model_ID(?s:.*)drug_id, Name, PubCHEM"
    for changed, message in (
        ({"other": tmp_path / "GDSC1_fitted_dose_response.xlsx"}, "one file GDSC"),
        ({"lines": RELEASE["drugs"]}, columns),
        ({"smiles": tmp_path / "s.txt"}, r"none among 7 curves \(6 with a line\)"),
    ):
        with pytest.raises(InputError, match=message):
            responses.read_raw(release(**changed), rows.row("gdsc2"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda table: table.drop(columns="LN_IC50"), r"columns\n(?s:.*)no LN_IC50", id="column"),
        pytest.param(lambda table: table.assign(LN_IC50="x"), r"LN_IC50 in row 2\n(?s:.*)'x'", id="text"),
        pytest.param(None, r"response\.xlsx: \(whole file\)\n +expected: an xlsx file", id="cut off"),
    ],
)
def test_a_release_of_another_layout_is_refused(tmp_path, rows, change, message, release):
    if change is None:
        (tmp_path / "fitted_dose_response.xlsx").write_bytes(RELEASE["fitted"].read_bytes()[:-200])
    else:
        change(pd.read_excel(RELEASE["fitted"])).to_excel(tmp_path / "fitted_dose_response.xlsx", index=False)
    with pytest.raises(InputError, match=message):
        responses.read_raw(release(fitted=tmp_path / "fitted_dose_response.xlsx"), rows.row("gdsc2"))


def test_the_published_lists_give_smiles_to_238_drugs(tmp_path, rows, mirror, release):
    lists = {"drugs": mirror / "gdsc_drug_list_2019-06-24.csv", "smiles": mirror / "gdsc_223drugs_pubchem_smiles.txt"}
    fitted = pd.read_excel(RELEASE["fitted"])[:1]
    curves = [fitted.assign(DRUG_ID=drug) for drug in pd.read_csv(lists["drugs"], dtype=str)["drug_id"]]
    pd.concat(curves).to_excel(tmp_path / "fitted_dose_response.xlsx", index=False)
    made = responses.read_raw(release(fitted=tmp_path / "fitted_dose_response.xlsx", **lists), rows.row("gdsc2"))
    assert len(made.table) == 238
    assert made.left_out["curves without SMILES of the drug"] == 266 - 238
