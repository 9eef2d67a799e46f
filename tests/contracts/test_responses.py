"""Drug responses: one form, whatever they came in."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from celllm.contracts import raw, responses, tables
from celllm.contracts.responses import Responses
from celllm.errors import InputError

TABLE = pd.DataFrame(
    {"line": ["l1", "l1", "l2"], "drug": ["d1", "d2", "d1"], "smiles": ["C", "CC", "C"], "response": [0.5, -1.0, 2.0]},
)


@pytest.fixture(scope="module")
def rows(root):
    return tables.read_datasets(root / "config/datasets.tsv")


def manifest_of(folder, *paths):
    raw.write("d", [raw.describe(path) for path in paths], folder / "manifest.json")
    return raw.read(folder / "manifest.json")


@pytest.mark.parametrize("simulated", [True, False])
def test_responses_read_back_what_was_written(tmp_path, simulated):
    responses.write(Responses(table=TABLE, simulated=simulated), tmp_path / "r.parquet")
    back = responses.read(tmp_path / "r.parquet")
    pd.testing.assert_frame_equal(back.table, TABLE)
    assert back.simulated is simulated


def test_a_pair_that_occurs_twice_is_refused(tmp_path):
    twice = pd.concat([TABLE, TABLE[:1]])
    with pytest.raises(InputError, match="l1 with d1 more than once"):
        responses.write(Responses(table=twice, simulated=False), tmp_path / "r.parquet")
    assert not (tmp_path / "r.parquet").exists()


def test_a_response_that_is_no_number_is_refused(tmp_path):
    holed = TABLE.assign(response=[0.5, np.nan, 2.0])
    with pytest.raises(InputError, match="none for l1 with d2"):
        responses.write(Responses(table=holed, simulated=False), tmp_path / "r.parquet")


def test_a_table_that_does_not_say_whether_it_is_simulated_is_refused(tmp_path):
    TABLE.to_parquet(tmp_path / "r.parquet")
    with pytest.raises(InputError, match="metadata simulated"):
        responses.read(tmp_path / "r.parquet")


def test_gdsc_pairs_get_the_smiles_of_their_drug(tmp_path, rows):
    pairs = pd.DataFrame({"drug": ["d2", "d1"], "DepMap_ID": ["l1", "l1"], "ln_ic50": [1.0, 2.0]})
    pairs.to_parquet(tmp_path / "p.parquet")
    (tmp_path / "s.csv").write_text("drug,smiles\nd1,C\nd2,CC\n")
    manifest = manifest_of(tmp_path, tmp_path / "p.parquet", tmp_path / "s.csv")
    made = responses.read_raw(manifest, rows.row("gdsc_tgsa"))
    assert made.table.to_dict("list") == {
        "line": ["l1", "l1"],
        "drug": ["d1", "d2"],
        "smiles": ["C", "CC"],
        "response": [2.0, 1.0],
    }


def test_a_drug_without_smiles_is_named(tmp_path, rows):
    pd.DataFrame({"drug": ["d9"], "DepMap_ID": ["l1"], "ln_ic50": [1.0]}).to_parquet(tmp_path / "p.parquet")
    (tmp_path / "s.csv").write_text("drug,smiles\nd1,C\n")
    manifest = manifest_of(tmp_path, tmp_path / "p.parquet", tmp_path / "s.csv")
    with pytest.raises(InputError, match="none for d9"):
        responses.read_raw(manifest, rows.row("gdsc_tgsa"))


def test_simulated_responses_keep_saying_so(tmp_path, rows):
    TABLE.sample(frac=1, random_state=1).to_parquet(tmp_path / "p.parquet")
    made = responses.read_raw(manifest_of(tmp_path, tmp_path / "p.parquet"), rows.row("simulated_cell_lines"))
    pd.testing.assert_frame_equal(made.table, TABLE)
    assert made.simulated


def test_a_reader_that_gives_no_responses_is_named(tmp_path, rows):
    TABLE.to_parquet(tmp_path / "p.parquet")
    row = dataclasses.replace(rows.row("gdsc_tgsa"), reader="gdsc_xlsx")
    with pytest.raises(InputError, match=r"(?s)one of gdsc_tgsa, h5ad.*found: +gdsc_xlsx"):
        responses.read_raw(manifest_of(tmp_path, tmp_path / "p.parquet"), row)


def test_real_responses_have_their_published_numbers(tmp_path, rows, mirror):
    manifest = manifest_of(
        tmp_path,
        mirror / "gdsc_ic50_tgsa_82833.parquet",
        mirror / "gdsc_ic50_tgsa_drug_smiles.csv",
    )
    table = responses.read_raw(manifest, rows.row("gdsc_tgsa")).table
    assert len(table) == 82_833
    assert table["drug"].nunique() == 170
    assert table["line"].nunique() == 580
    assert table["response"].min() == pytest.approx(-8.45, abs=0.01)
