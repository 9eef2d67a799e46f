"""Cells of a type that the reference lacks: are they refused, and how many known ones with them?

    python perf/novelty.py --mirror /path/to/mirror --out novelty.tsv [--celltypist celltypist/bin/python]

Each type of a set is taken out of the reference in turn, and stays in the query. Settings of `annotate/novelty.py` were
chosen on the pairs of kind `chosen on`; the others were looked at once. Beside novelty stands the plain confidence of
the way that cross-validation takes, and CellTypist's (perf/compare-celltypist.txt), each at 0.5 and by its AUROC.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.metrics import roc_auc_score

from celllm.annotate import folder as folders
from celllm.annotate import judge as judges
from celllm.annotate import novelty as novelties
from celllm.annotate import source
from celllm.annotate.cells import OwnCells, embed_piece
from celllm.harmonise.normalise import log_normalised

RATE, THRESHOLD = 0.02, 0.5  # the defaults of `celllm annotate`
BLOOD = {"Naive CD4 T": "T", "Memory CD4 T": "T", "CD8 T": "T", "CD14+ Mono": "Monocyte", "FCGR3A+ Mono": "Monocyte"}
ZHENG = {"CD19+ B": "B", "CD56+ NK": "NK", "CD14+ Monocyte": "Monocyte", "CD34+": "CD34+"}


@dataclass
class Cells:
    """Counts, embedding, the labels a reference teaches, and the type that each belongs to; all by cell."""

    counts: sparse.csr_matrix
    z: np.ndarray
    labels: np.ndarray
    types: np.ndarray
    obs: pd.DataFrame

    def __getitem__(self, rows: np.ndarray) -> Cells:
        return Cells(self.counts[rows], self.z[rows], self.labels[rows], self.types[rows], self.obs[rows])


def read(path: Path, encoder: folders.EncoderFolder, types: dict[str, str] | None = None, other: str = "") -> Cells:
    """Read labelled cells; a label that `types` does not name is of the type `other`, or its own."""
    with source.opened(path) as opened:
        counts, obs = OwnCells(opened, encoder).counts(), opened.obs
    labels = obs["cell_type"].astype(str)
    of = np.array([(types or {}).get(name, other or name) for name in labels])
    return Cells(counts, embed_piece(encoder, counts), labels.to_numpy(str), of, obs)[
        (labels != "unlabelled").to_numpy()
    ]


def pairs(mirror: Path) -> Iterator[tuple[str, str, Cells, Cells, list[str]]]:
    """Yield what each pair is for, its name, reference, query, and the types to take out of the reference."""
    encoder = folders.read()
    generator = np.random.default_rng(0)
    pbmc = read(mirror / "pbmc3k_10x.h5ad", encoder, BLOOD)
    asked = generator.random(len(pbmc.types)) < 0.25
    sorted_cells = read(mirror / "pbmc_zheng2017_facs.h5ad", encoder, ZHENG, "T")
    mature = sorted_cells[sorted_cells.types != "CD34+"]
    blood = ["", "B", "NK", "Monocyte", "T"]  # "": none is taken out
    yield "chosen on", "PBMC 3k, a quarter asked", pbmc[~asked], pbmc[asked], [*blood, "DC"]
    yield "chosen on", "sorted blood -> PBMC 3k", mature, pbmc[np.isin(pbmc.types, blood)], blood
    yield "reported", "PBMC 3k -> sorted blood, CD34+", pbmc, sorted_cells, [""]
    islets = read(mirror / "pancreas_baron_subset.h5ad", encoder)
    later = islets.obs["sample"].isin(["human3", "human4"]).to_numpy()
    yield "reported", "islets, donors 1, 2 -> 3, 4", islets[~later], islets[later], ["", *np.unique(islets.types)]
    tumour = read(mirror / "tumour_pancreas_pdac_moncada.h5ad", encoder)
    names, sizes = np.unique(tumour.types, return_counts=True)
    tumour = tumour[np.isin(tumour.types, names[sizes >= 20])]
    half = generator.random(len(tumour.types)) < 0.5
    yield "reported", "PDAC, one sample, half -> half", tumour[~half], tumour[half], ["", *np.unique(tumour.types)]


def rows(kind: str, name: str, reference: Cells, query: Cells, without: str, python: str | None) -> Iterator[dict]:
    """Yield a row for each way of saying how strange a cell is."""
    reference = reference[reference.types != without]
    views = {"embedding": reference.z, "genes": log_normalised(reference.counts)}
    known, _ = judges.check(judges.Reference(views, reference.labels), file=name)
    is_unknown = ~np.isin(query.types, np.unique(reference.types))
    head = judges.finished(known, judges.best(judges.judge(known, ways=["embedding", "pca"])))
    confidence = head.probabilities({"embedding": query.z, "genes": log_normalised(query.counts)}).max(axis=1)
    types = novelties.learned(known.views["embedding"], known.labels, judges.folds_of(known))
    distances = types.distances(query.z)
    novelty, off = types.novelty(distances)
    is_novel = novelty > 1 - RATE
    found = {
        "novelty": (distances, is_novel),
        "confidence": (-confidence, confidence < THRESHOLD),
        "both": (None, is_novel | (confidence < THRESHOLD)),
        "novelty, not scaled": (distances, distances > np.quantile(types.held_out_N, 1 - RATE)),
    }
    if python is not None:
        sureness = celltypist(reference, query, python)
        found["CellTypist's probability"] = (-sureness, sureness < THRESHOLD)
    for score, (values, refused) in found.items():
        has_both = values is not None and 0 < is_unknown.sum() < len(is_unknown)
        yield {
            "kind": kind,
            "pair": name,
            "without": without,
            "score": score,
            "n_known": int((~is_unknown).sum()),
            "n_unknown": int(is_unknown.sum()),
            "auroc": roc_auc_score(is_unknown, values) if has_both else np.nan,
            "known_refused": refused[~is_unknown].mean(),
            "unknown_refused": refused[is_unknown].mean() if is_unknown.any() else np.nan,
            "times_as_far": off,
        }


def celltypist(reference: Cells, query: Cells, python: str) -> np.ndarray:
    """Return the probability of CellTypist's label, trained on the reference in an environment of its own."""
    script = """
import sys, anndata, celltypist, numpy, scanpy
reference, query = (anndata.read_h5ad(path) for path in sys.argv[1:3])
for cells in (reference, query):
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
model = celltypist.train(reference, labels="label", n_jobs=1)
numpy.savetxt(sys.argv[3], celltypist.annotate(query, model=model).probability_matrix.max(axis=1))
"""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("reference.h5ad", "query.h5ad", "found.txt")]
        for cells, path in zip((reference, query), files, strict=False):
            ad.AnnData(cells.counts, obs=pd.DataFrame({"label": cells.labels}, index=cells.obs.index)).write_h5ad(path)
        subprocess.run([python, "-c", script, *files], check=True, capture_output=True)
        return np.loadtxt(files[2])


def main() -> None:
    """Ask every pair, and print the means of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    parser.add_argument("--celltypist", help="Python with perf/compare-celltypist.txt")
    args = parser.parse_args()
    found = [
        row
        for kind, name, reference, query, taken_out in pairs(args.mirror)
        for without in taken_out
        for row in rows(kind, name, reference, query, without, args.celltypist)
    ]
    table = pd.DataFrame(found)
    table.round(4).to_csv(args.out, sep="\t", index=False)
    numbers = ["auroc", "known_refused", "unknown_refused", "times_as_far"]
    print(table.groupby(["kind", "pair", "score"], sort=False)[numbers].mean().round(3).to_string())


if __name__ == "__main__":
    main()
