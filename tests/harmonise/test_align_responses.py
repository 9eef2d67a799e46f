"""Drug responses by the command that the workflow calls."""

import pandas as pd

from celllm.harmonise.commands import align_responses
from celllm.sources import raw, responses


def test_published_responses_are_brought_into_form(root, tmp_path):
    pairs = pd.DataFrame({"drug": ["d1", "d1"], "DepMap_ID": ["l2", "l1"], "ln_ic50": [1.0, 2.0]})
    pairs.to_parquet(tmp_path / "p.parquet")
    (tmp_path / "s.csv").write_text("drug,smiles\nd1,CCO\n")
    files = [raw.describe(tmp_path / "p.parquet"), raw.describe(tmp_path / "s.csv")]
    raw.write("gdsc_tgsa", files, tmp_path / "manifest.json")
    align_responses.main(
        [
            "--dataset",
            "gdsc_tgsa",
            "--datasets",
            str(root / "config/datasets.tsv"),
            "--raw",
            str(tmp_path / "manifest.json"),
            "--responses",
            str(tmp_path / "r.parquet"),
        ],
    )
    made = responses.read(tmp_path / "r.parquet")
    assert made.table["line"].tolist() == ["l1", "l2"]
    assert made.table["response"].tolist() == [2.0, 1.0]
    assert made.table["smiles"].tolist() == ["CCO", "CCO"]
    assert not made.simulated
