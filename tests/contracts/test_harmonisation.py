"""The report of what became of names and cells."""

import json

import pytest

from celllm.contracts import harmonisation
from celllm.contracts.harmonisation import Harmonisation
from celllm.errors import InputError

REPORT = Harmonisation(
    dataset="d",
    n_names=4,
    mapped=2,
    ambiguous=1,
    lost=1,
    mapped_share_of_counts=0.9,
    by_route={"approved": 2, "ambiguous": 1, "unknown": 1},
    top_lost=[("MALAT1", 0.08), ("X", 0.02)],
    cells_kept=10,
    cells_dropped=1,
    threshold=0.8,
)


def test_a_report_reads_back_what_was_written(tmp_path):
    harmonisation.write(REPORT, tmp_path / "h.json")
    assert harmonisation.read(tmp_path / "h.json") == REPORT


def test_a_report_with_an_unknown_key_is_refused(tmp_path):
    harmonisation.write(REPORT, tmp_path / "h.json")
    values = json.loads((tmp_path / "h.json").read_text())
    (tmp_path / "h.json").write_text(json.dumps({**values, "unforeseen": 1}))
    with pytest.raises(InputError, match="unforeseen"):
        harmonisation.read(tmp_path / "h.json")
