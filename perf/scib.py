"""Embeddings of a finished benchmark, scored by scib-metrics: how well clusters and neighbours keep the labels.

    python -m venv scib && scib/bin/pip install -r perf/scib.txt
    python perf/scib.py --run . --work scores --scib scib/bin/python

Every labelled cell of the tasks' data sets; whoever wants to compare finds the arrays in --work, one .npz a data set.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
from pathlib import Path

import numpy as np


def arrays_of(run: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return labels and embeddings of each data set that a classification reads, by the names that tables show."""
    from celllm.bench.method import BenchMethod
    from celllm.bench.methods.embedded import embedded
    from celllm.config import catalogue
    from celllm.corpus import components
    from celllm.corpus.components import gene_features, projected
    from celllm.harmonise import cells as cell_files
    from celllm.harmonise import vocabulary
    from celllm.model.store import fresh, load_encoder
    from celllm.splits.units import cells_from

    results = run / "results"
    genes = vocabulary.read(results / "vocabulary/genes.tsv")
    pca = components.read(results / "bench/pca.safetensors", vocabulary=genes.digest)
    encoders = {}
    for path in sorted(results.glob("pretrain/*/seed*/encoder.safetensors")):
        name, seed = path.parts[-3:-1]
        encoders[f"{name}, {seed}"] = load_encoder(path, vocabulary=genes.digest)
        encoders.setdefault(f"{name}, untrained", fresh(encoders[f"{name}, {seed}"], 0))
    known = catalogue.read(results / "bench/catalogue.json")
    tasks = [known.tasks[name] for name in known.runs]
    found = {}
    for dataset in dict.fromkeys(task.dataset for task in tasks if task.kind == "classification"):
        cells = cells_from(cell_files.read(results / f"cells/{dataset}.h5ad", vocabulary=genes))
        rows = np.flatnonzero(cells.labels != "")
        of_cells = {"components of the corpus": projected(gene_features(cells.counts[rows], cells.values), pca)}
        for name, encoder in encoders.items():
            method = BenchMethod({}, seed=0, encoder=None, vocabulary=genes)
            method.options = {"scratch": False}
            of_cells[name] = embedded(method, encoder, cells.counts, cells.values, rows)
        found[dataset] = {"labels": cells.labels[rows]} | of_cells
    return found


def score(path: Path) -> None:
    """Score the arrays of a file; what the process of scib-metrics does."""
    import scib_metrics
    from scib_metrics.nearest_neighbors import pynndescent

    arrays = np.load(path)
    labels = arrays["labels"]
    with path.with_suffix(".tsv").open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(["dataset", "embedding", "nmi", "ari", "silhouette", "clisi"])
        for name in (name for name in arrays.files if name != "labels"):
            values = np.ascontiguousarray(arrays[name], dtype=np.float32)
            clusters = scib_metrics.nmi_ari_cluster_labels_kmeans(values, labels)
            numbers = [clusters["nmi"], clusters["ari"], scib_metrics.silhouette_label(values, labels)]
            numbers.append(scib_metrics.clisi_knn(pynndescent(values, n_neighbors=90), labels))
            table.writerow([path.stem, name, *(f"{float(number):.3f}" for number in numbers)])


def main() -> None:
    """Write the arrays and have them scored; or with --score do the latter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a finished benchmark")
    parser.add_argument("--work", type=Path, help="folder of arrays and scores")
    parser.add_argument("--scib", help="Python with perf/scib.txt")
    parser.add_argument("--score", type=Path, help="score the arrays of this file, and nothing else")
    args = parser.parse_args()
    if args.score:
        score(args.score)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    tables = []
    for dataset, arrays in arrays_of(args.run).items():
        path = args.work / f"{dataset}.npz"
        np.savez_compressed(path, **arrays)
        subprocess.run([args.scib, __file__, "--score", str(path)], check=True)
        tables.append(path.with_suffix(".tsv").read_text().splitlines())
    lines = [tables[0][0], *(line for table in tables for line in table[1:])]
    (args.work / "scib.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
