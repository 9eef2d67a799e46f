"""The report of what became of names and cells."""

import json

import pytest

from celllm.base.errors import InputError
from celllm.harmonise import harmonisation
from celllm.harmonise.harmonisation import Harmonisation, SampleCells

REPORT = Harmonisation(
    dataset="d",
    n_names=4,
    mapped=2,
    ambiguous=1,
    lost=1,
    merged=1,
    mapped_share_of_counts=0.9,
    by_route={"approved": 2, "ambiguous": 1, "unknown": 1},
    share_by_route={"approved": 0.9, "ambiguous": 0.02, "unknown": 0.08},
    top_lost=[("MALAT1", 0.08), ("X", 0.02)],
    samples={"s1": SampleCells(kept=7, empty=0, too_few_genes=1), "s2": SampleCells(kept=3, empty=2, too_few_genes=0)},
    threshold=0.8,
)


def test_a_report_reads_back_what_was_written(tmp_path):
    harmonisation.write(REPORT, tmp_path / "h.json")
    assert harmonisation.read(tmp_path / "h.json") == REPORT
    assert (REPORT.cells_kept, REPORT.cells_dropped) == (10, 3)


def test_a_report_with_an_unknown_key_is_refused(tmp_path):
    harmonisation.write(REPORT, tmp_path / "h.json")
    values = json.loads((tmp_path / "h.json").read_text())
    (tmp_path / "h.json").write_text(json.dumps({**values, "unforeseen": 1}))
    with pytest.raises(InputError, match="unforeseen"):
        harmonisation.read(tmp_path / "h.json")
