"""The table of embedding metrics."""

import math

from celllm.report.embedding import Measured, embedding_table


def test_what_does_not_apply_is_an_empty_cell():
    spread = {"uniformity": -1.0, "mean_cosine": 0.25, "effective_rank": 12.34}
    labelled = Measured("Blood", "CellLM", 10, 3, 2, {"silhouette_label": 0.5, "ilisi": 0.75, **spread})
    bare = Measured("Skin", "CellLM", 5, 0, 0, spread)
    table = embedding_table([labelled, bare])
    first, second = table.rows.to_dict("records")
    assert (first["silhouette_label"], first["ilisi"], second["effective_rank"]) == (0.5, 0.75, 12.34)
    assert math.isnan(second["silhouette_label"])
    assert math.isnan(first["kbet"])
    assert "nan" not in table.markdown
    assert "| 12.3 " in table.markdown
