"""Published gene vectors in word2vec's text format."""

from pathlib import Path

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.genes import gene2vec

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "simulated_gene2vec_w2v.txt.gz"


def test_vectors_are_read_with_their_names_in_the_order_of_the_file():
    names, vectors = gene2vec.read(FIXTURE)
    assert names == ["TXK", "CD3E", "MT-CO1"]
    assert vectors.dtype == np.float32
    assert vectors.tolist() == np.array([[0.1, -0.2, 0.3, 1e-5], [1, 2, 3, 4], [0, 0, 0, -1.5]], np.float32).tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", r"line 1\n.*genes and of dimensions\n.*0 fields", id="empty"),
        pytest.param("A 0.1 0.2\n", r"line 1\n.*genes and of dimensions\n.*3 fields", id="no-header"),
        pytest.param("2 2\nA 1 2\nB 1 2 3\n", r"line 3\n.*a gene and 2 numbers\n.*4 fields", id="wide"),
        pytest.param("2 2\nA 1 2\nB 1\n", r"line 3\n.*a gene and 2 numbers\n.*2 fields", id="narrow"),
        pytest.param("2 2\nA 1 2\nB 1 x\n", r"line 3\n.*numbers", id="text"),
        pytest.param("2 2\nA 1 2\nB 1 nan\n", r"line 3\n.*finite numbers", id="nan"),
        pytest.param("2 2\nA 1 2\nB 1 1e39\n", r"line 3\n.*finite numbers", id="too-large"),
        pytest.param("3 2\nA 1 2\nB 1 2\n", r"lines\n.*3 genes, as line 1 says\n.*2", id="short"),
        pytest.param("1 2\nA 1 2\nB 1 2\n", r"lines\n.*1 genes, as line 1 says\n.*2", id="long"),
        pytest.param("2 2\nA 1 2\nA 1 2\n", r"A\n.*each gene once", id="twice"),
    ],
)
def test_a_file_of_another_form_is_refused_by_line(tmp_path, text, message):
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(InputError, match=rf"v\.txt: {message}"):
        gene2vec.read(tmp_path / "v.txt")


def test_a_truncated_file_is_refused(tmp_path):
    (tmp_path / "v.txt.gz").write_bytes(FIXTURE.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"v\.txt\.gz: \(whole file\)\n(?s:.*)EOFError"):
        gene2vec.read(tmp_path / "v.txt.gz")
