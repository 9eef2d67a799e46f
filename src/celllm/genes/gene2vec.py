"""Published gene vectors as word2vec's text format: a line `n d`, then a gene and its d numbers a line.

Source: gene2vec, Du et al. 2019, BMC Genomics 20:82, `gene2vec_dim_200_iter_9_w2v.txt`, d = 200. Its lines end in a
blank.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from celllm.base.errors import InputError
from celllm.harmonise.symbols import SymbolIndex, map_names, one_name_a_gene
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources import hgnc as hgnc_file
from celllm.sources import raw
from celllm.sources.archives import opened, reading


def read(path: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Read gene vectors, gzipped or not: names of n genes, each once, and their vectors, n x d, float32.

    InputError names the first line that is not of the format.
    """
    with reading(path, "gene vectors as text"), opened(path) as stream:
        sizes = stream.readline().split()
        if len(sizes) != 2 or not all(size.isdigit() for size in sizes):
            raise _error(path, "line 1", "the numbers of genes and of dimensions", f"{len(sizes)} fields")
        n_genes, width = map(int, sizes)
        names: list[str] = []
        rows: list[npt.NDArray[np.float32]] = []
        for number, line in enumerate(stream, start=2):
            fields = line.decode("utf-8").split()
            if not fields:
                continue
            if len(fields) != width + 1:
                raise _error(path, f"line {number}", f"a gene and {width} numbers", f"{len(fields)} fields")
            names.append(fields[0])
            rows.append(_vector(fields[1:], number, path))
    if len(names) != n_genes:
        raise _error(path, "lines", f"{n_genes} genes, as line 1 says", f"{len(names)}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise _error(path, twice[0], "each gene once", "more than once")
    return names, np.stack(rows) if rows else np.zeros((0, width), dtype=np.float32)


def on_axis(
    manifest: Path, hgnc: Path, genes: Vocabulary, *, width: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Read the gene vectors of a manifest; return one a gene, and the vocabulary index of each.

    Names are mapped by the gene annotation of the manifest `hgnc`. InputError if the file is not of its format, the
    vectors have another width, or fewer than two genes are known.
    """
    file = raw.read(manifest).only().path
    names, vectors_ND = read(file)
    if vectors_ND.shape[1] != width:
        raise InputError(
            file="--recipe",
            field="encoder.width",
            expected=f"{vectors_ND.shape[1]}, the numbers of a gene in {file.name}",
            found=str(width),
            remedy="set encoder.width to that, or choose another genes.method",
        )
    mapping = map_names(names, SymbolIndex(hgnc_file.read(raw.read(hgnc).only().path)), genes)
    chosen = one_name_a_gene(mapping)
    if len(chosen) < 2:
        raise InputError(
            file=file,
            field="names",
            expected="two genes of the vocabulary at least",
            found=f"{len(chosen)} of {len(names)} names",
            remedy="check the file, and the gene annotation given as --hgnc",
        )
    return vectors_ND[chosen], mapping.index_N[chosen]


def _vector(fields: list[str], number: int, path: Path) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # what overflows is refused below
            vector = np.array(fields, dtype=np.float64).astype(np.float32)
    except ValueError as error:
        raise _error(path, f"line {number}", "numbers", str(error)) from None
    if not np.isfinite(vector).all():
        raise _error(path, f"line {number}", "finite numbers", "NaN, infinity or a number too large")
    return vector


def _error(path: Path, field: str, expected: str, found: str) -> InputError:
    return InputError(
        file=path,
        field=field,
        expected=expected,
        found=found,
        remedy="fetch the file again; if it is whole, check that it is word2vec's text format",
    )
