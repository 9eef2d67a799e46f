"""R objects, written here byte by byte as R's save() and saveRDS() do: the tree of parts, and cells in it."""

import gzip
import struct
from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources import look, raw, rfile
from celllm.sources.readers.cells import annotate
from celllm.sources.readers.robjects import read_robjects
from celllm.sources.robjects import find, load, paths

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
COUNTS = np.array([[1, 0, 7, 0], [0, 0, 0, 2], [2, 3, 0, 1]])  # cells x genes
GENES, CELLS = ["CD3E", "RPL5", "MT-CO1", "GAPDH"], ["AAACCTGAGC-1", "CCCCCTGAGC-1", "GGGCCTGAGC-1"]
STATES = ["normal", "tumour", None]


@dataclass
class R:
    """An R object of a class, with attributes; without a value an S4 object, whose slots they are."""

    classes: str
    attributes: dict = field(default_factory=dict)
    value: object = None


class Environment(dict):
    pass


def packed(value, attributes=None, flags=0):
    """An item of R's serialisation, version 2, big-endian."""
    kinds = {"i": (13, ">i4"), "f": (14, ">f8"), "b": (10, ">i4")}
    if isinstance(value, R):
        attributes = value.attributes | {"class": [value.classes]}
        return (
            packed(value.value, attributes, 0x100) if value.value is not None else _item(25, b"", attributes, 0x10100)
        )
    if value is None:
        return struct.pack(">i", 254)
    if isinstance(value, Environment):
        return struct.pack(">iii", 4, 0, 242) + _pairs(value) + struct.pack(">ii", 254, 254)
    if isinstance(value, dict):
        return packed(list(value.values()), {"names": list(value)} | (attributes or {}), flags)
    if isinstance(value, np.ndarray):
        kind, dtype = kinds[value.dtype.kind]
        if value.ndim == 2:
            attributes = {"dim": np.array(value.shape, dtype=np.int32)} | (attributes or {})
        data = struct.pack(">i", value.size) + value.ravel(order="F").astype(dtype).tobytes()
        return _item(kind, data, attributes, flags)
    if value != [None, None] and all(one is None or isinstance(one, str) for one in value):
        return _item(16, struct.pack(">i", len(value)) + b"".join(map(_char, value)), attributes, flags)
    return _item(19, struct.pack(">i", len(value)) + b"".join(map(packed, value)), attributes, flags)


def _item(kind, data, attributes, flags):
    return (
        struct.pack(">i", kind | flags | (0x200 if attributes else 0))
        + data
        + (_pairs(attributes) if attributes else b"")
    )


def _pairs(named):
    tagged = [struct.pack(">ii", 2 | 0x400, 1) + _char(name) + packed(value) for name, value in named.items()]
    return b"".join(tagged) + struct.pack(">i", 254)


def _char(text):
    return struct.pack(">ii", 0x40009, -1) if text is None else struct.pack(">ii", 0x40009, len(text)) + text.encode()


def save_rds(path, value, *, pack=gzip.compress):
    path.write_bytes(pack(b"X\n" + struct.pack(">iii", 2, 0x30601, 0x20300) + packed(value)))
    return path


def save(path, **objects):
    path.write_bytes(gzip.compress(b"RDX2\nX\n" + struct.pack(">iii", 2, 0x30601, 0x20300) + _pairs(objects)))
    return path


def sparse_of(kind="C", *, names=True, counts=COUNTS):
    matrix = {"C": sparse.csc_matrix, "R": sparse.csr_matrix, "T": sparse.coo_matrix}[kind](counts.T.astype(float))
    slots = {"x": matrix.data}
    if kind == "T":
        slots |= {"i": matrix.row.astype(np.int32), "j": matrix.col.astype(np.int32)}
    else:
        slots |= {"i" if kind == "C" else "j": matrix.indices, "p": matrix.indptr}
    slots |= {"Dim": np.array(matrix.shape, dtype=np.int32), "Dimnames": [GENES, CELLS] if names else [None, None]}
    return R(f"dg{kind}Matrix", slots)


def dense():
    return R("matrix", {"dimnames": [GENES, CELLS]}, COUNTS.T.astype(float))


def frame(columns, rows):
    return R("data.frame", {"names": list(columns), "row.names": rows}, list(columns.values()))


STATE = R("factor", {"levels": ["normal", "tumour"]}, np.array([1, 2, -(2**31)], dtype=np.int32))
META = frame({"state": STATE, "n": np.array([8.0, 2.0, 6.0])}, CELLS)
FRAME = dict(zip(CELLS, COUNTS.astype(np.int32), strict=True))
COLUMNS = R(
    "DFrame",
    {"rownames": CELLS, "nrows": np.array([3], dtype=np.int32), "listData": {"state": STATES, "of two": np.eye(3)}},
)
LOGMAP = {
    "features": R(
        "LogMap", {"dimnames": [[*GENES, "OTHER"], ["counts", "data"]]}, np.array([[1, 1]] * 4 + [[0, 1]]) > 0
    ),
    "cells": R("LogMap", {"dimnames": [CELLS, ["counts", "data"]]}, np.ones((3, 2), dtype=bool)),
}


def experiment(assay="counts", **slots):
    assays = R("SimpleAssays", {"data": R("SimpleList", {"listData": {assay: sparse_of(names=False)}})})
    return R("SingleCellExperiment", {"assays": assays, "colData": COLUMNS, **slots})


CONTAINERS = {
    "dgCMatrix": (sparse_of("C"), None),
    "dgRMatrix": (sparse_of("R"), None),
    "dgTMatrix": (sparse_of("T"), None),
    "matrix": (dense(), None),
    "data.frame": (frame(FRAME, GENES), None),
    "data.frame with a column of genes": (
        frame({"gene": GENES, **FRAME}, np.array([-(2**31), -4], dtype=np.int32)),
        None,
    ),
    "transposed": (R("matrix", {"dimnames": [CELLS, GENES]}, COUNTS.astype(float)), "t(.)"),
    "list of lists": ([{"a": {"my counts": sparse_of()}}], "[[1]]$a$`my counts`"),
    "Seurat 2": (R("seurat", {"raw.data": sparse_of(), "meta.data": META}), None),
    "Seurat 3": (R("Seurat", {"assays": {"RNA": R("Assay", {"counts": sparse_of()})}, "meta.data": META}), None),
    "Seurat 5": (
        R(
            "Seurat",
            {
                "assays": {"RNA": R("Assay5", {"layers": {"counts": sparse_of(names=False)}, **LOGMAP})},
                "meta.data": META,
            },
        ),
        None,
    ),
    "SingleCellExperiment": (experiment(NAMES=GENES), None),
    "an assay count": (experiment("count", NAMES=GENES), None),
    "SingleCellExperiment with ranges": (
        experiment(rowRanges=R("GRanges", {"ranges": R("IRanges", {"NAMES": GENES})})),
        "@assays@data@listData$counts",
    ),
    "ExpressionSet": (
        R(
            "ExpressionSet",
            {"assayData": Environment(exprs=dense()), "phenoData": R("AnnotatedDataFrame", {"data": META})},
        ),
        None,
    ),
}


def cells_in(path, part=None):
    manifest = raw.RawManifest("d", (raw.RawFile(path.name, path, 0, "", part=part),), path)
    return list(read_robjects(manifest, None))


@pytest.mark.parametrize(("held", "part"), CONTAINERS.values(), ids=CONTAINERS)
def test_counts_and_names_come_out_of_every_class(tmp_path, held, part):
    (cells,) = cells_in(save_rds(tmp_path / "a.rds", held), part)
    assert cells.matrix.toarray().tolist() == COUNTS.tolist()
    assert cells.matrix.dtype == np.int32
    assert (cells.names, list(cells.obs.index)) == (GENES, CELLS)
    if held.__class__ is R and held.classes not in {"matrix", "data.frame"} and "Matrix" not in held.classes:
        assert list(cells.obs["state"]) == STATES


def test_a_workspace_has_named_objects_and_several_are_stacked(tmp_path):
    path = save(tmp_path / "a.RData", stim=sparse_of(), ctrl=sparse_of(counts=COUNTS * 2))
    one, other = cells_in(path, "stim ctrl")
    assert (other.matrix != one.matrix * 2).nnz == 0
    assert list(one.obs["part"]) == ["stim"] * 3
    assert other.obs.index[0] == f"ctrl:{CELLS[0]}"
    with pytest.raises(InputError, match=r"found: +several objects; its parts: stim, ctrl"):
        cells_in(path)


def test_a_table_stands_beside_cells_and_ids_beside_genes(tmp_path):
    ids = ["ENSG00000198851", "ENSG00000122406", "ENSG00000198804", "none"]
    held = {"counts": sparse_of(), "cells": {"batch": ["1", "1", "2"]}, "ids": ids}
    (cells,) = cells_in(save_rds(tmp_path / "a.rds", held), "$counts|$cells|$ids")
    assert list(cells.obs["batch"]) == ["1", "1", "2"]
    assert cells.names == [*(f"{gene}_{one}" for gene, one in zip(GENES[:3], ids, strict=False)), GENES[3]]


@pytest.mark.parametrize(
    ("held", "part", "message"),
    [
        (
            R("DelayedMatrix", {"seed": R("HDF5ArraySeed", {})}),
            None,
            r"object of class DelayedMatrix; its parts: @seed",
        ),
        (R("Seurat", {"assays": {"ADT": R("Assay", {"counts": sparse_of()})}}), None, r"none there in the Seurat"),
        (sparse_of(names=False), None, r"a name for each gene\n +found: +4 genes and 3 cells, 0 gene"),
        ({"a": sparse_of()}, "$b", r"no \$b in \. \(list\); its parts: \$a"),
        ({"a": sparse_of()}, "a", r"a path that begins with @, \$, \[\[ or is \."),
        (frame({"x": np.array([1.0]), "y": ["b"]}, ["r"]), None, r"text in the column y"),
        ([sparse_of(), ["a"]], "[[1]]||[[2]]", r"an id for each of 4 genes\n +found: +1 ids"),
        ([sparse_of(), {"a": ["b"], "c": ["d", "e"]}], "[[1]]|[[2]]", r"of one length\n +found: +lengths of 1 to 2"),
    ],
    ids=["unknown class", "no RNA", "no names", "no such part", "a name in an rds", "text between", "ids", "lengths"],
)
def test_what_holds_no_counts_is_named_by_its_class_and_parts(tmp_path, held, part, message):
    with pytest.raises(InputError, match=message):
        cells_in(save_rds(tmp_path / "a.rds", held), part)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_file_that_breaks_off_is_refused(tmp_path, share):
    whole = save_rds(tmp_path / "a.rds", sparse_of(), pack=bytes).read_bytes()
    (tmp_path / "b.rds").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"b\.rds: \(whole file\)"):
        cells_in(tmp_path / "b.rds")


def test_a_file_beyond_the_memory_of_the_machine_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(rfile, "TIMES", 10**9)
    with pytest.raises(InputError, match=r"size once unpacked\n +expected: at most \d+ bytes\n(?s:.*)larger machine"):
        cells_in(save_rds(tmp_path / "a.rds", sparse_of()))


def test_names_with_signs_and_blanks_stand_in_backticks(tmp_path):
    assert paths("a$`b c`@d t(e)  f") == ["a$`b c`@d", "t(e)", "f"]
    root = load(save(tmp_path / "a.rda", **{"my data": {"x@y": ["one"]}}))
    assert find(root, "`my data`$`x@y`").path == "`my data`$`x@y`"


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz", "ascii", "with_sm2", "dense"])
def test_every_form_of_rs_save_gives_the_cells_of_panglaodb(rows, how, read):
    path, row = FIXTURES / f"simulated_{how}.sparse.RData", rows.row("panglaodb")
    (cells,) = read(row, path, samples=["s"], part="sm", study="SRA1", malignancy="tumour")
    assert cells.matrix.toarray().tolist() == [[1, 0, 7, 0], [0, 0, 0, 0], [2, 3, 0, 1], [0, 0, 120, 0], [5, 0, 0, 0]]
    assert cells.matrix.dtype == np.int32
    assert cells.names[:2] == ["A1BG_ENSG00000121410.11", "CD3E_ENSG00000198851.9"]
    assert list(cells.obs.index) == ["AAACCTGAGCATCATC", "AAACCTGAGCTAACTC", "AAACCTGAGGGATGGG", "CCC", "GGG"]
    assert annotate(cells, row)[["sample", "study", "is_malignant"]].iloc[0].tolist() == ["s", "SRA1", 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other_name", r"one of the objects counts\n +found: +sm"),
        ("overflow", r"a count of 3000000000, beyond the largest that 32 bits hold"),
        ("without_names", r"RData: sm\n(?s:.*)4 genes and 5 cells, 0 gene and 5 cell names"),
    ],
)
def test_objects_that_are_not_panglaodbs_are_refused(rows, name, message, read):
    with pytest.raises(InputError, match=message):
        read(rows.row("panglaodb"), FIXTURES / f"simulated_{name}.sparse.RData", part="sm")


def test_a_panglaodb_download_has_the_cells_of_its_twin(rows, mirror, read):
    (cells,) = read(rows.row("panglaodb"), mirror / "raw_format" / "SRA550660_SRS2089637.sparse.RData", part="sm")
    assert cells.matrix.shape == (661, 8545)
    # the same cells lie in the mirror as h5ad, under the same barcodes
    twin = ad.read_h5ad(mirror / "pbmc_kang2018_ifnb.h5ad", backed="r")
    gene = [name.split("_ENS")[0] for name in cells.names].index("ISG15")
    there = twin[[f"{barcode}-1-ctrl" for barcode in cells.obs.index], "ISG15"].to_memory().X.toarray().ravel()
    assert cells.matrix[:, [gene]].toarray().ravel().tolist() == there.tolist()


def test_look_lists_parts_and_says_which_holds_counts(tmp_path):
    slots = {"counts": sparse_of(), "data": sparse_of(counts=np.log1p(COUNTS))}
    path = save(tmp_path / "a.rda", pbmc=R("Seurat", {"assays": {"RNA": R("Assay", slots)}, "meta.data": META}))
    page = look.look(path)
    assert "pbmc@assays$RNA@counts  dgCMatrix, 4 x 3" in " ".join(page.split(" ")).replace("   ", "  ")
    assert "counts: pbmc@assays$RNA@counts\n" in page
    assert "matrix pbmc@assays$RNA@data: 3 cells x 4 genes" in page
