from __future__ import annotations

import math

import pytest

from celllm.base.errors import InputError
from celllm.pretrain import history


def test_a_history_comes_back_with_a_gap_where_a_step_lacks_a_quantity(tmp_path):
    history.write([{"step": 1, "loss": 2.5, "contrastive": None}, {"step": 2, "contrastive": 0.5}], tmp_path / "h")
    table = history.read(tmp_path / "h")
    assert list(table["step"]) == [1, 2]
    assert table["loss"][0] == 2.5
    assert math.isnan(table["loss"][1])
    assert math.isnan(table["contrastive"][0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"step": 1}\n{"step": 2', "line 2", id="cut off"),
        pytest.param('{"loss": 1}\n', "a JSON object with a step", id="no step"),
        pytest.param("", "no line", id="empty"),
    ],
)
def test_a_damaged_history_is_refused(tmp_path, text, message):
    (tmp_path / "h").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        history.read(tmp_path / "h")
