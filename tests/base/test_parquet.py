import builtins

import pandas as pd
import pytest

from celllm.base.parquet import read_frame


def test_a_frame_is_read_with_its_attributes_and_without_an_open_python_file(tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=["one", "two"])
    frame.attrs["provenance"] = {"commit": "c"}
    path = tmp_path / "a blank & more.parquet"
    frame.to_parquet(path)
    monkeypatch.setattr(builtins, "open", None)
    pd.testing.assert_frame_equal(read_frame(path), frame)
    assert read_frame(path).attrs == frame.attrs
    assert list(read_frame(path, columns=["b"])) == ["b"]
    with pytest.raises(FileNotFoundError) as caught:
        read_frame(tmp_path / "none.parquet")
    assert caught.value.filename == str(tmp_path / "none.parquet")
