"""Encoder files round-trip, and refuse what is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.model import format as encoder
from celllm.model.format import EncoderFile


def content() -> EncoderFile:
    tensors = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.array([1.5], dtype=np.float32)}
    return EncoderFile(tensors, {"tokens": {"max_length": 8}}, "abc", [3, 1], {"stage": "pretrain-1"})


def test_an_encoder_round_trips(tmp_path: Path) -> None:
    encoder.write(content(), tmp_path / "e.safetensors")
    found = encoder.read(tmp_path / "e.safetensors", vocabulary="abc")
    assert found.recipe == content().recipe
    assert (found.vocabulary, found.panel, found.provenance) == ("abc", [3, 1], {"stage": "pretrain-1"})
    for name, tensor in content().tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)


def test_equal_encoders_are_equal_files(tmp_path: Path) -> None:
    for name in "abcdef":
        encoder.write(content(), tmp_path / name)
    assert len({(tmp_path / name).read_bytes() for name in "abcdef"}) == 1


def test_no_panel_comes_back_as_none(tmp_path: Path) -> None:
    encoder.write(EncoderFile({"b": np.zeros(1, np.float32)}, {}, "abc"), tmp_path / "e.safetensors")
    assert encoder.read(tmp_path / "e.safetensors").panel is None


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    encoder.write(content(), tmp_path / "e.safetensors")
    with pytest.raises(VocabularyMismatch, match="snakemake --forcerun pretrain"):
        encoder.read(tmp_path / "e.safetensors", vocabulary="xyz")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(json.dumps({}))
    save_file(
        {"genes": np.zeros(2, np.float32)}, str(tmp_path / "other"), metadata={"celllm": '{"format": "celllm-genes-1"}'}
    )
    for name, found in (("text", "no safetensors file"), ("other", "celllm-genes-1")):
        with pytest.raises(InputError, match=found):
            encoder.read(tmp_path / name)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    encoder.write(content(), path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        encoder.write(EncoderFile({"b": np.zeros(1)}, {"bad": {1, 2}}, "abc"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["e.safetensors"]
