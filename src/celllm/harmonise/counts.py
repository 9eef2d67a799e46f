"""Which matrix of an AnnData holds counts: X, raw and every layer are looked at, and none is believed by its name.

A matrix is named as the column `matrix` of config/datasets.tsv has it: `X`, `raw` or `layers:NAME`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources.units import evidence

BLOCK = 64
"""Cells that are looked at from each of the beginning, the middle and the end."""
NO_COUNTS: Final = (
    'take the object before it was normalised, or keep its counts: adata.layers["counts"] = adata.X.copy()'
)
REMEDIES: Final = {
    "counts with the rounding of floats": 'round them: adata.layers["counts"] = numpy.rint(adata.X)',
    "missing values": "replace what is missing; where files of different genes were joined, by 0: anndata.concat(…, "
    'join="outer", fill_value=0)',
}
"""What to do about numbers of a kind that units.py names, which are not to be had as counts elsewhere."""


@dataclass(frozen=True)
class Looked:
    """A matrix, and the cells of it that were looked at."""

    place: str
    n_cells: int
    n_genes: int
    sample: sparse.csr_matrix
    """Cells x genes."""

    @classmethod
    def at(cls, place: str, matrix: Any) -> Looked:  # noqa: ANN401 - dense or CSR, in memory or on disk
        """Look at cells from the beginning, the middle and the end; only these are read."""
        n_cells, n_genes = map(int, matrix.shape)
        starts = sorted({0, max(0, (n_cells - BLOCK) // 2), max(0, n_cells - BLOCK)})
        parts = [sparse.csr_matrix(matrix[start : start + BLOCK]) for start in starts]
        return cls(place, n_cells, n_genes, sparse.vstack(parts, format="csr"))

    def is_copy(self, other: Looked) -> bool:
        """Whether another matrix holds the same, as far as was looked."""
        shapes = {(one.n_cells, one.n_genes) for one in (self, other)}
        return len(shapes) == 1 and (self.sample != other.sample).nnz == 0


def find_counts(matrices: Mapping[str, Any], *, file: str, asked: str | None = None) -> Looked:
    """Find the one matrix that holds counts; copies of each other are one.

    `matrices` are in order of preference among copies; `asked` is taken instead of looking, and checked all the same.

    InputError if none holds counts, or several that differ; the message shows what each looks like.
    """
    if asked is not None and asked not in matrices:
        offered = ", ".join(matrices) or "no matrix"
        raise InputError(
            file=file, field=asked, expected="a matrix of the file", found=offered, remedy=_remedy(matrices)
        )
    looked = {place: Looked.at(place, matrix) for place, matrix in matrices.items() if asked in (None, place)}
    said = {place: evidence(one.sample) for place, one in looked.items()}
    found = [one for place, one in looked.items() if said[place].is_counts]
    if found and all(map(found[0].is_copy, found[1:])):
        return found[0]
    described = "\n            ".join(
        f"{place} ({one.n_cells:,} x {one.n_genes:,}): {said[place].line()}" for place, one in looked.items()
    )
    if found:
        expected, remedy = "one matrix of counts", f"several differ; {_remedy(one.place for one in found)}"
    else:
        expected = "a matrix of whole counts, 0 or more"
        remedy = next((REMEDIES[one.units] for one in said.values() if one.units in REMEDIES), NO_COUNTS)
    raise InputError(
        file=file, field=asked or "counts", expected=expected, found=described or "no matrix", remedy=remedy
    )


def _remedy(places: Iterable[str]) -> str:
    return "name one: " + " or ".join(f"--counts {place}" for place in places)
