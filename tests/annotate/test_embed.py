"""`celllm.embed` and `celllm embed`: the same vectors whatever the file's form, everything else as it was."""

from __future__ import annotations

import gzip

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import celllm
from celllm.annotate import commands
from celllm.base.errors import InputError
from celllm.model.inference import embed_cells


def contents(path):
    """Every array of a file with its attributes, and every group's attributes."""
    found: dict[str, bytes] = {}

    def note(name, item):
        attributes = repr(sorted((key, str(value)) for key, value in item.attrs.items())).encode()
        found[name] = attributes + (repr(item[()]).encode() if isinstance(item, h5py.Dataset) else b"")

    with h5py.File(path) as file:
        file.visititems(note)
    return found


@pytest.fixture
def plain(own, folder):
    """What the cells' embeddings must be."""
    return embed_cells(folder.pretrained, own.X, units="counts")


def test_a_file_keeps_all_it_had_and_gets_its_embedding(tmp_path, own, folder, plain, capsys):
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


def changed(change):
    """Write the object after a change of it."""

    def write(own, path):
        change(own)
        own.write_h5ad(path)

    write.__name__ = change.__name__
    return write


def csc(own):
    own.X = sparse.csc_matrix(own.X)


def dense(own):
    own.X = own.X.toarray()


def normalised_beside_counts(own):
    own.layers["raw_counts"] = own.X.copy()
    own.X = own.X.multiply(1 / own.X.sum(axis=1)).log1p().tocsr()


def counts_in_raw(own):
    own.raw = own.copy()
    own.X = own.X.log1p()


def ensembl(own):
    own.var_names = [f"ENSG{number:011d}" for number in range(40)]


def versions_in_a_column(own):
    own.var["gene_ids"] = [f"ENSG{number:011d}.{number + 1}" for number in range(40)]
    own.var_names = [f"{number}" for number in range(40)]


def entrez_in_a_column(own):
    own.var["entrez"] = np.arange(7000, 7040).astype(float)
    own.var["n_cells"] = np.arange(7039, 6999, -1)
    own.var_names = [f"gene-{number}" for number in range(40)]


def numbers_that_look_like_entrez_ids(own):
    own.var["features"] = own.var_names.tolist()
    own.var_names = [str(number) for number in range(7039, 6999, -1)]


def mixed(own):
    names = own.var_names.tolist()
    own.var_names = [f"ENSG{i:011d}" if i % 3 else names[i] for i in range(40)]


def retired_ids(own):
    own.var["symbol"] = own.var_names.tolist()
    own.var_names = [f"ENSG{number if number > 4 else 900 + number:011d}" for number in range(40)]


def previous_symbols(own):
    own.var_names = [f"OLD{number:02d}" for number in range(40)]


def blanks_and_a_genome(own):
    own.var_names = [f"GRCh38_{name} " for name in own.var_names]


def of_a_release_to_come(own, path):
    own.var["note"] = "a"
    own.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["var/note"].attrs["encoding-type"] = "not-yet-known"


def of_seurat(own, path):
    counts_in_raw(own)
    own.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        var = file["raw/var"]
        var.move(var.attrs["_index"], "_i")
        var.move("_i", "_index")
        for name in list(var.attrs):
            del var.attrs[name]


def of_cite_seq(own, path):
    antibodies = sparse.csr_matrix(np.full((own.n_obs, 2), 900))
    types = {"feature_types": ["Gene Expression"] * own.n_vars + ["Antibody Capture"] * 2}
    var = pd.DataFrame(types, index=[*own.var_names, "ENSG00000000000", "ENSG00000000001"])
    ad.AnnData(sparse.hstack([own.X, antibodies], format="csr"), own.obs, var).write_h5ad(path)


OBJECTS = [
    csc,
    dense,
    normalised_beside_counts,
    counts_in_raw,
    ensembl,
    versions_in_a_column,
    entrez_in_a_column,
    numbers_that_look_like_entrez_ids,
    mixed,
    retired_ids,
    previous_symbols,
    blanks_and_a_genome,
]


@pytest.mark.parametrize(
    "write", [*map(changed, OBJECTS), of_a_release_to_come, of_seurat, of_cite_seq], ids=lambda one: one.__name__
)
def test_the_form_of_a_file_changes_no_embedding(tmp_path, own, folder, plain, write):
    write(own, tmp_path / "my.h5ad")
    commands.embed(tmp_path / "my.h5ad", out=tmp_path / "out.h5ad", encoder=folder.path)
    with h5py.File(tmp_path / "out.h5ad") as file:
        np.testing.assert_allclose(file["obsm/X_celllm"], plain, atol=1e-6)


@pytest.mark.parametrize("change", OBJECTS, ids=lambda one: one.__name__)
def test_the_form_of_an_object_changes_no_embedding(own, folder, plain, change):
    change(own)
    assert celllm.embed(own, encoder=folder.path) is own
    np.testing.assert_allclose(own.obsm["X_celllm"], plain, atol=1e-6)


def test_an_object_backed_by_a_file_is_embedded(tmp_path, own, folder, plain):
    own.write_h5ad(tmp_path / "my.h5ad")
    backed = ad.read_h5ad(tmp_path / "my.h5ad", backed="r")
    np.testing.assert_allclose(celllm.embed(backed, encoder=folder.path).obsm["X_celllm"], plain, atol=1e-6)
    backed.file.close()


def test_names_of_one_gene_are_summed(own, folder, plain):
    half = sparse.csr_matrix(own.X.toarray() // 2)
    split = sparse.hstack([half, own.X - half], format="csr")
    names = [*own.var_names, *(f"ENSG{number:011d}" for number in range(40))]
    twice = ad.AnnData(split, obs=own.obs, var=pd.DataFrame(index=names))
    np.testing.assert_allclose(celllm.embed(twice, encoder=folder.path).obsm["X_celllm"], plain, atol=1e-6)


def cut(own, path):
    own.write_h5ad(path)
    path.write_bytes(path.read_bytes()[:3000])


def compressed(own, path):
    own.write_h5ad(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def multimodal(own, path):
    own.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        file.create_group("mod")


def mouse(own):
    own.var_names = [f"Gene{number}a" for number in range(40)]


def transposed(own, path):
    own.T.copy().write_h5ad(path)


def of_cell_ranger(own, path):
    with h5py.File(path, "w") as file:
        file["matrix/indptr"] = own.X.indptr


def logarithms(own):
    own.X = own.X.log1p()


def two_counts(own):
    own.layers["spliced"] = sparse.csr_matrix(own.X.toarray() // 2)


def one_fraction(own, path):
    counts = np.tile(own.X.toarray(), (4, 1))
    counts[100, 0] = 1.5  # neither among the first cells, nor in the middle, nor among the last
    ad.AnnData(sparse.csr_matrix(counts), var=own.var).write_h5ad(path)


@pytest.mark.parametrize(
    ("write", "options", "said"),
    [
        pytest.param(lambda own, path: path.write_text("cells"), {}, "h5ad file", id="text"),
        pytest.param(lambda own, path: path.touch(), {}, "h5ad file", id="empty"),
        pytest.param(lambda own, path: path.mkdir(), {}, "read_zarr", id="folder"),
        pytest.param(lambda own, path: None, {}, "no such file", id="none"),
        pytest.param(cut, {}, "h5ad file", id="cut"),
        pytest.param(compressed, {}, "unpacked", id="gzip"),
        pytest.param(multimodal, {}, "MuData", id="MuData"),
        pytest.param(of_cell_ranger, {}, "read_10x_h5", id="Cell Ranger"),
        pytest.param(changed(mouse), {}, "human genes", id="mouse"),
        pytest.param(transposed, {}, "transpose it", id="genes x cells"),
        pytest.param(changed(logarithms), {}, "logarithms", id="no counts"),
        pytest.param(changed(two_counts), {}, "--counts layers:spliced", id="counts that differ"),
        pytest.param(one_fraction, {}, "fractional values such as 1.5", id="a fraction where nobody looked"),
        pytest.param(changed(dense), {"counts": "raw"}, "--counts X", id="no such matrix"),
        pytest.param(changed(dense), {"genes": "symbol"}, "--genes COLUMN", id="no such column"),
        pytest.param(changed(dense), {"out": "my.h5ad"}, "another file than the input", id="the input"),
    ],
)
def test_what_cannot_be_embedded_is_refused_and_nothing_is_left(tmp_path, own, folder, write, options, said):
    write(own, tmp_path / "my.h5ad")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    options = {"out": "out.h5ad", **options}
    with pytest.raises(InputError, match=said):
        commands.embed(tmp_path / "my.h5ad", encoder=folder.path, **options | {"out": tmp_path / options["out"]})
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_call_on_an_object_writes_no_file_and_one_on_a_file_names_one(tmp_path, own, folder):
    own.write_h5ad(tmp_path / "my.h5ad")
    with pytest.raises(InputError, match="out=FILE"):
        celllm.embed(tmp_path / "my.h5ad", encoder=folder.path)
    with pytest.raises(InputError, match="write_h5ad"):
        celllm.embed(own, tmp_path / "out.h5ad", encoder=folder.path)
    made = celllm.embed(str(tmp_path / "my.h5ad"), str(tmp_path / "out.h5ad"), encoder=folder.path)
    assert ad.read_h5ad(made).obsm["X_celllm"].shape[0] == 90


def test_a_user_is_warned_of_genes_that_are_missing(own, folder, capsys):
    celllm.embed(own[:, :10].copy(), encoder=folder.path)
    said = capsys.readouterr()
    assert "25.0% of the encoder's genes have a name" in said.out
    assert "embedding: mean cosine" in said.out
    assert "warning: most genes of the encoder have no name in the file" in said.err
