import builtins

import pandas as pd

from celllm.base.parquet import read_frame


def test_a_frame_is_read_with_its_attributes_and_without_an_open_python_file(tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=["one", "two"])
    frame.attrs["provenance"] = {"commit": "c"}
    frame.to_parquet(tmp_path / "f.parquet")
    monkeypatch.setattr(builtins, "open", None)
    pd.testing.assert_frame_equal(read_frame(tmp_path / "f.parquet"), frame)
    assert read_frame(tmp_path / "f.parquet").attrs == frame.attrs
    assert list(read_frame(tmp_path / "f.parquet", columns=["b"])) == ["b"]
