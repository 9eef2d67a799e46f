"""`celllm.embed` and `celllm embed`: the same vectors whatever the file's form, everything else as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import celllm
from celllm.annotate import commands
from celllm.annotate.folder import EncoderFolder
from celllm.base.errors import InputError
from celllm.model.inference import embed_cells


def contents(path: Path) -> dict[str, bytes]:
    """Every array of a file with its attributes, and every group's attributes."""
    found: dict[str, bytes] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        attributes = repr(sorted((key, str(value)) for key, value in item.attrs.items())).encode()
        found[name] = attributes + (repr(item[()]).encode() if isinstance(item, h5py.Dataset) else b"")

    with h5py.File(path) as file:
        file.visititems(note)
    return found


@pytest.fixture
def plain(own: ad.AnnData, folder: EncoderFolder) -> np.ndarray:
    """What the cells' embeddings must be."""
    return embed_cells(folder.pretrained, own.X, units="counts")


def test_a_file_keeps_all_it_had_and_gets_its_embedding(
    tmp_path: Path, own: ad.AnnData, folder: EncoderFolder, plain: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    own.layers["counts"] = own.X.toarray()
    own.X = own.X.copy()
    own.X.data = np.log1p(own.X.data)
    own.raw = own.copy()
    own.obsm["X_pca"] = np.ones((90, 2))
    own.obsp["distances"] = sparse.eye(90, format="csr")
    own.uns["colours"] = {"a": np.array(["#fff"], dtype=object)}
    own.write_h5ad(tmp_path / "my.h5ad")
    with h5py.File(tmp_path / "my.h5ad", "r+") as file:  # of a release to come
        file["uns/later"] = 1
        file["uns/later"].attrs["encoding-type"] = "not-yet-known"
    before = contents(tmp_path / "my.h5ad")
    commands.embed(tmp_path / "my.h5ad", out=tmp_path / "out.h5ad", encoder=folder.path)
    assert contents(tmp_path / "my.h5ad") == before
    after = contents(tmp_path / "out.h5ad")
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1] for name in set(after) - set(before)} == {"X_celllm", "celllm"}
    with h5py.File(tmp_path / "out.h5ad", "r+") as file:
        del file["uns/later"]
    found = ad.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_allclose(found.obsm["X_celllm"], plain, atol=1e-6)
    assert found.uns["celllm"]["counts"] == "layers:counts"
    assert found.uns["celllm"]["encoder"]["sha256"] == folder.pretrained.digest
    assert found.uns["celllm"]["mapped_share_of_counts"] == 1
    assert "layers:counts; gene names: index; 40 of 40 names mapped, 100.0% of the counts" in capsys.readouterr().out


def csc(own: ad.AnnData) -> None:
    own.X = sparse.csc_matrix(own.X)


def dense(own: ad.AnnData) -> None:
    own.X = own.X.toarray()


def ensembl(own: ad.AnnData) -> None:
    own.var_names = [f"ENSG{number:011d}" for number in range(40)]


def versions_in_a_column(own: ad.AnnData) -> None:
    own.var["gene_ids"] = [f"ENSG{number:011d}.{number + 1}" for number in range(40)]
    own.var_names = [f"{number}" for number in range(40)]


def entrez_in_a_column(own: ad.AnnData) -> None:
    own.var["entrez"] = np.arange(7000, 7040).astype(float)
    own.var["n_cells"] = np.arange(7039, 6999, -1)
    own.var_names = [f"gene-{number}" for number in range(40)]


def numbers_that_look_like_entrez_ids(own: ad.AnnData) -> None:
    own.var["features"] = own.var_names.tolist()
    own.var_names = [str(number) for number in range(7039, 6999, -1)]


def mixed(own: ad.AnnData) -> None:
    names = own.var_names.tolist()
    own.var_names = [f"ENSG{i:011d}" if i % 3 else names[i] for i in range(40)]


def retired_ids(own: ad.AnnData) -> None:
    own.var["symbol"] = own.var_names.tolist()
    own.var_names = [f"ENSG{number if number > 4 else 900 + number:011d}" for number in range(40)]


def previous_symbols(own: ad.AnnData) -> None:
    own.var_names = [f"OLD{number:02d}" for number in range(40)]


@pytest.mark.parametrize(
    "change",
    [
        csc,
        dense,
        ensembl,
        versions_in_a_column,
        entrez_in_a_column,
        numbers_that_look_like_entrez_ids,
        mixed,
        retired_ids,
        previous_symbols,
    ],
)
@pytest.mark.parametrize("is_file", [True, False], ids=["file", "object"])
def test_the_form_of_an_object_changes_no_embedding(
    tmp_path: Path,
    own: ad.AnnData,
    folder: EncoderFolder,
    plain: np.ndarray,
    change: Callable[[ad.AnnData], None],
    is_file: bool,
) -> None:
    change(own)
    if is_file:
        own.write_h5ad(tmp_path / "my.h5ad")
        commands.embed(tmp_path / "my.h5ad", out=tmp_path / "out.h5ad", encoder=folder.path)
        found = ad.read_h5ad(tmp_path / "out.h5ad")
    else:
        found = celllm.embed(own, encoder=folder.path)
        assert found is own
    np.testing.assert_allclose(found.obsm["X_celllm"], plain, atol=1e-6)


def test_names_of_one_gene_are_summed(own: ad.AnnData, folder: EncoderFolder, plain: np.ndarray) -> None:
    half = sparse.csr_matrix(own.X.toarray() // 2)
    split = sparse.hstack([half, own.X - half], format="csr")
    names = [*own.var_names, *(f"ENSG{number:011d}" for number in range(40))]
    twice = ad.AnnData(split, obs=own.obs, var=pd.DataFrame(index=names))
    np.testing.assert_allclose(celllm.embed(twice, encoder=folder.path).obsm["X_celllm"], plain, atol=1e-6)


def not_hdf5(path: Path) -> None:
    path.write_text("cells")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def multimodal(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["X"]
        file.create_group("mod")


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [(not_hdf5, "h5ad file"), (cut, "h5ad file"), (multimodal, "MuData"), (gone, "no such file")],
)
def test_a_broken_file_is_named_and_nothing_is_left(
    tmp_path: Path, own: ad.AnnData, folder: EncoderFolder, harm: Callable[[Path], None], said: str
) -> None:
    own.write_h5ad(tmp_path / "my.h5ad")
    harm(tmp_path / "my.h5ad")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=said):
        commands.embed(tmp_path / "my.h5ad", out=tmp_path / "out.h5ad", encoder=folder.path)
    assert sorted(tmp_path.iterdir()) == before


def mouse(own: ad.AnnData) -> ad.AnnData:
    own.var_names = [f"Gene{number}a" for number in range(40)]
    return own


def one_fraction(own: ad.AnnData) -> ad.AnnData:
    counts = np.tile(own.X.toarray(), (4, 1))
    counts[100, 0] = 1.5  # neither among the first cells, nor in the middle, nor among the last
    return ad.AnnData(sparse.csr_matrix(counts), var=own.var)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (mouse, {}, "human genes"),
        (one_fraction, {}, "fractional values such as 1.5"),
        (lambda own: own, {"counts": "raw"}, "--counts X"),
        (lambda own: own, {"genes": "symbol"}, "--genes COLUMN"),
    ],
    ids=["mouse", "a fraction where nobody looked", "no such matrix", "no such column"],
)
def test_cells_that_cannot_be_embedded_are_refused_and_nothing_is_left(
    tmp_path: Path,
    own: ad.AnnData,
    folder: EncoderFolder,
    change: Callable[[ad.AnnData], ad.AnnData],
    options: dict[str, str],
    said: str,
) -> None:
    change(own).write_h5ad(tmp_path / "my.h5ad")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=said):
        commands.embed(tmp_path / "my.h5ad", out=tmp_path / "out.h5ad", encoder=folder.path, **options)
    assert sorted(tmp_path.iterdir()) == before


def test_the_input_is_never_replaced(tmp_path: Path, own: ad.AnnData, folder: EncoderFolder) -> None:
    own.write_h5ad(tmp_path / "my.h5ad")
    with pytest.raises(InputError, match="another file than the input"):
        commands.embed(tmp_path / "my.h5ad", out=tmp_path / "my.h5ad", encoder=folder.path)


def test_a_user_is_warned_of_genes_that_are_missing(
    own: ad.AnnData, folder: EncoderFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    celllm.embed(own[:, :10].copy(), encoder=folder.path)
    said = capsys.readouterr()
    assert "25.0% of the encoder's genes have a name" in said.out
    assert "embedding: mean cosine" in said.out
    assert "warning: most genes of the encoder have no name in the file" in said.err
