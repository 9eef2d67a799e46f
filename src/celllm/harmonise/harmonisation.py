"""`results/cells/{dataset}.harmonisation.json`: what became of a dataset's gene names and cells."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from celllm.base.atomic import writing
from celllm.sources.archives import unreadable


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SampleCells:
    """What became of a sample's cells; dropped are those that are empty or express too few genes."""

    kept: int
    empty: int
    too_few_genes: int
    """Cells with some counts, but fewer expressed genes than the dataset's min_genes."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Harmonisation:
    """The count of a dataset's names and cells; shares are of the kept cells' counts, spike-ins left out."""

    dataset: str
    n_names: int
    """Names of the source; over several files, the sum."""
    mapped: int
    """Names that map to a vocabulary gene."""
    ambiguous: int
    """Names that could be several genes, so they map to none."""
    lost: int
    """Names of known genes outside the vocabulary, and names nobody knows."""
    merged: int
    """Mapped names beyond the first of their gene; their counts are added to its."""
    mapped_share_of_counts: float
    """Share of the counts that lands on the vocabulary. For z-scores, which have no counts: share of names."""
    by_route: dict[str, int]
    """Names by how they mapped or why they did not; harmonise/symbols.py lists the routes."""
    share_by_route: dict[str, float]
    """The same as shares of the counts (z-scores: of the names); they sum to 1."""
    top_lost: list[tuple[str, float]]
    """The unmapped names with most counts, with their share of the counts."""
    samples: dict[str, SampleCells]
    threshold: float
    """The least mapped_share_of_counts that is accepted."""
    missing: dict[str, int] = field(default_factory=dict)
    """Kept cells without a value, by label, donor, sample and is_malignant, where a column of the source gives them."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Features that are no human genes, by kind; of several files, the most of one."""

    @property
    def cells_kept(self) -> int:
        """Cells kept, all samples together."""
        return sum(sample.kept for sample in self.samples.values())

    @property
    def cells_dropped(self) -> int:
        """Cells dropped, all samples together."""
        return sum(sample.empty + sample.too_few_genes for sample in self.samples.values())


_ADAPTER = TypeAdapter(Harmonisation)


def write(harmonisation: Harmonisation, path: Path | str) -> None:
    """Write the report."""
    with writing(path) as part:
        part.write_bytes(_ADAPTER.dump_json(harmonisation, indent=2) + b"\n")


def read(path: Path | str) -> Harmonisation:
    """Read the report; InputError if it lacks or adds a key."""
    try:
        return _ADAPTER.validate_json(Path(path).read_bytes())
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        remedy = "rebuild it: snakemake --forcerun align_cells"
        raise unreadable(path, "the keys of a harmonisation report", found, remedy=remedy) from None
