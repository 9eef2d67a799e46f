"""`celllm annotate` beside CellTypist, scANVI and nearest neighbours on principal components, on one's own cells.

    python -m venv celltypist && celltypist/bin/pip install -r perf/compare-celltypist.txt
    python -m venv scanvi && scanvi/bin/pip install -r perf/compare-scanvi.txt # so too concord
    python perf/compare.py --mirror /path/to/mirror --work compare \
        --celltypist celltypist/bin/python --scanvi scanvi/bin/python --concord concord/bin/python

With `--run FOLDER`, a finished run of the benchmark, the tools alone label the test cells of its splits, taught by the
training cells; `--splits` names which:

    python perf/compare.py --run . --work rivals --celltypist celltypist/bin/python --concord concord/bin/python

Every tool runs in a process of its own, on one thread, and is given the same two files of counts. A label that is left
open would count as wrong, so none is: `celllm annotate` runs with --threshold 0 --novelty 0. Finished runs are kept.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

LABELS = "cell_type"
# What the reference calls a cell, and what the query's sorted populations are called; CD34+ is left out, since the
# reference has no such cells.
PBMC3K = {
    "Naive CD4 T": "CD4 T",
    "Memory CD4 T": "CD4 T",
    "CD14+ Mono": "Monocyte",
    "FCGR3A+ Mono": "Monocyte",
}
ZHENG = {
    "CD19+ B": "B",
    "CD56+ NK": "NK",
    "CD14+ Monocyte": "Monocyte",
    "CD8+ Cytotoxic T": "CD8 T",
    "CD8+/CD45RA+ Naive Cytotoxic": "CD8 T",
    "CD4+ T Helper2": "CD4 T",
    "CD4+/CD45RO+ Memory": "CD4 T",
    "CD4+/CD25 T Reg": "CD4 T",
    "CD4+/CD45RA+/CD25- Naive T": "CD4 T",
}


def pairs(mirror: Path) -> dict[str, Callable[[], tuple[ad.AnnData, ad.AnnData]]]:
    """Return the pairs of a labelled reference and a query by name, each read when it is called."""

    def read(name: str, *, without: tuple[str, ...] = (), column: str = LABELS) -> ad.AnnData:
        cells = ad.read_h5ad(mirror / f"{name}.h5ad")
        return cells[~cells.obs[column].isin(without)].copy()

    def lines(protocol: str) -> ad.AnnData:
        return read(f"cellline_lung_scmixology_{protocol}_3cl", without=("DBL",), column="demuxlet_cls")

    def halves(name: str, is_query: Callable[[pd.DataFrame], np.ndarray]) -> tuple[ad.AnnData, ad.AnnData]:
        cells = read(name)
        cells = cells[cells.obs.groupby(LABELS, observed=True)[LABELS].transform("size").astype(int) >= 10]
        asked = is_query(cells.obs)
        return cells[~asked].copy(), cells[asked].copy()

    return {
        "pbmc3k_10x -> pbmc_zheng2017_facs": lambda: (
            read("pbmc3k_10x", without=("unlabelled",)),
            read("pbmc_zheng2017_facs", without=("CD34+",)),
        ),
        "lung lines, CEL-seq2 -> Drop-seq": lambda: (lines("celseq2"), lines("dropseq")),
        "lung lines, Drop-seq -> CEL-seq2": lambda: (lines("dropseq"), lines("celseq2")),
        "islets, donors 1, 2 -> 3, 4": lambda: halves(
            "pancreas_baron_subset", lambda obs: obs["sample"].isin(["human3", "human4"]).to_numpy()
        ),
        "PDAC, one sample, half -> half": lambda: halves("tumour_pancreas_pdac_moncada", _every_second),
    }


def _every_second(obs: pd.DataFrame) -> np.ndarray:
    shuffled = obs.sample(frac=1, random_state=0)
    return (shuffled.groupby(LABELS, observed=True).cumcount() % 2).reindex(obs.index).to_numpy() == 1


def celltypist(reference: ad.AnnData, query: ad.AnnData) -> Any:
    """Logistic regression on log-normalised genes, as CellTypist trains it on a reference."""
    import celltypist
    import scanpy as sc

    for cells in (reference, query):
        cells.var_names_make_unique()
        sc.pp.normalize_total(cells, target_sum=1e4)
        sc.pp.log1p(cells)
    model = celltypist.train(reference, labels=LABELS, n_jobs=1)
    return celltypist.annotate(query, model=model).predicted_labels["predicted_labels"]


def scanvi(reference: ad.AnnData, query: ad.AnnData) -> Any:
    """Train scANVI on reference and query together, as in its tutorial; epochs are its defaults."""
    import scanpy as sc
    import scvi

    scvi.settings.seed = 0
    for cells in (reference, query):
        cells.var_names_make_unique()
    cells = ad.concat({"reference": reference, "query": query}, label="study", index_unique="-")
    cells.obs["taught"] = [*reference.obs[LABELS], *["unknown"] * query.n_obs]
    cells.layers["counts"] = cells.X.copy()
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells, n_top_genes=2000, batch_key="study", subset=True)
    scvi.model.SCVI.setup_anndata(cells, layer="counts", batch_key="study", labels_key="taught")
    vae = scvi.model.SCVI(cells, n_layers=2, n_latent=30, gene_likelihood="nb")
    vae.train(accelerator="cpu")
    model = scvi.model.SCANVI.from_scvi_model(vae, unlabeled_category="unknown")
    model.train(max_epochs=20, n_samples_per_label=100, accelerator="cpu")
    return model.predict()[reference.n_obs :]


def concord(reference: ad.AnnData, query: ad.AnnData) -> Any:
    """Logistic regression on the embedding that CONCORD learns, without labels, of reference and query together."""
    import concord
    import scanpy as sc
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for cells in (reference, query):
        cells.var_names_make_unique()
    cells = ad.concat({"reference": reference, "query": query}, label="study", index_unique="-")
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells, n_top_genes=2000, subset=True)
    concord.Concord(cells, save_dir=None, domain_key="study").fit_transform(output_key="concord")
    embedded, n = cells.obsm["concord"], reference.n_obs
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return model.fit(embedded[:n], reference.obs[LABELS]).predict(embedded[n:])


def pca_knn(reference: ad.AnnData, query: ad.AnnData) -> Any:
    """Fifteen nearest neighbours on 50 principal components of the reference's 2,000 most variable genes."""
    import scanpy as sc
    from sklearn.neighbors import KNeighborsClassifier

    for cells in (reference, query):
        cells.var_names_make_unique()
        sc.pp.normalize_total(cells, target_sum=1e4)
        sc.pp.log1p(cells)
    shared = reference.var_names.intersection(query.var_names)
    reference, query = reference[:, shared].copy(), query[:, shared].copy()
    sc.pp.highly_variable_genes(reference, n_top_genes=2000, subset=True)
    sc.pp.pca(reference, n_comps=min(50, reference.n_obs - 1))
    mean = reference.X.mean(axis=0)
    projected = np.asarray(query[:, reference.var_names].X - mean) @ reference.varm["PCs"]
    model = KNeighborsClassifier(15).fit(reference.obsm["X_pca"], reference.obs[LABELS])
    return model.predict(projected)


TOOLS = {"celltypist": celltypist, "scanvi": scanvi, "concord": concord, "pca_knn": pca_knn}


def label(tool: str, folder: Path) -> None:
    """Label the query of a folder with one tool; what its own process does."""
    found = TOOLS[tool](ad.read_h5ad(folder / "reference.h5ad"), ad.read_h5ad(folder / "query.h5ad"))
    np.savetxt(folder / f"{tool}.txt", np.asarray(found, dtype=str), fmt="%s")


def measured(command: list[str]) -> tuple[float, float, float]:
    """Run a command on one thread; return wall seconds, CPU seconds and peak memory in MB."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    start = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ | dict.fromkeys(names, "1"))
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"exit status {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def command_of(tool: str, python: str, folder: Path) -> list[str]:
    """Return what labels the query of a folder with a tool, in the tool's environment."""
    return [python, __file__, "--label", tool, "--work", str(folder)]


def costs_of(folder: Path, tool: str, command: list[str]) -> dict[str, float]:
    """Run a tool on the pair of a folder unless that was done before; return what it took."""
    kept = folder / f"{tool}.costs.tsv"
    if not kept.exists():
        costs = measured(command)
        pd.DataFrame([costs], columns=["wall_s", "cpu_s", "peak_mb"]).to_csv(kept, sep="\t", index=False)
    return pd.read_csv(kept, sep="\t").round(1).iloc[0].to_dict()


def interval(truth: np.ndarray, predicted: np.ndarray, other: np.ndarray | None = None) -> tuple[float, float, float]:
    """Return macro-F1, or its difference from that of `other`, and its 95 % bootstrap interval over cells."""
    classes, truth_N = np.unique(truth, return_inverse=True)
    generator, n = np.random.default_rng(0), len(classes)
    names = {name: place for place, name in enumerate(classes)}
    # a label that no cell of the query has counts as one more class
    said = [np.array([names.get(name, n) for name in given]) for given in (predicted, other) if given is not None]

    def macro_f1(truth_B: np.ndarray, said_B: np.ndarray) -> float:
        hits = np.bincount(truth_B[truth_B == said_B], minlength=n)
        both = np.bincount(truth_B, minlength=n) + np.bincount(said_B, minlength=n)[:n]
        return float(np.mean(2 * hits / np.maximum(both, 1)))

    def value(rows: np.ndarray) -> float:
        mine, *theirs = (macro_f1(truth_N[rows], given[rows]) for given in said)
        return mine - sum(theirs)

    everything = np.arange(len(truth))
    drawn = [value(generator.choice(everything, len(truth))) for _ in range(1000)]
    return value(everything), *np.quantile(drawn, (0.025, 0.975)).tolist()


def compared(name: str, folder: Path, pythons: dict[str, str]) -> list[dict[str, Any]]:
    """Run what is missing of a pair, and return a row for each tool."""
    query = folder / "query.h5ad"
    ours = [sys.executable, "-m", "celllm", "annotate", str(query), "--reference", str(folder / "reference.h5ad")]
    ours += ["--labels", LABELS, "--out", str(folder / "celllm.h5ad"), "--threads", "1"]
    ours += ["--threshold", "0", "--novelty", "0"]
    commands = {"celllm": ours} | {tool: command_of(tool, python, folder) for tool, python in pythons.items()}
    truth = ad.read_h5ad(query, backed="r").obs[LABELS].astype(str).replace(ZHENG).to_numpy()
    said: dict[str, np.ndarray] = {}
    rows = []
    for tool, command in commands.items():
        costs = costs_of(folder, tool, command)
        if tool == "celllm":
            labelled = ad.read_h5ad(folder / "celllm.h5ad", backed="r")
            found, way = (
                labelled.obs["celllm_prediction"].astype(str),
                str(labelled.uns["celllm_annotate"]["model"]["way"]),
            )
        else:
            found, way = pd.read_csv(folder / f"{tool}.txt", header=None, sep="\t")[0], ""
        said[tool] = found.replace(PBMC3K).to_numpy()
        numbers = [*interval(truth, said[tool])]
        numbers += [np.nan] * 3 if tool == "celllm" else interval(truth, said[tool], said["celllm"])
        names = ("macro_f1", "low", "high", "from_celllm", "from_celllm_low", "from_celllm_high")
        rows.append(
            {"pair": name, "n_query": len(truth), "tool": tool, "way": way}
            | dict(zip(names, np.round(numbers, 3).tolist(), strict=True))
            | costs
            | {"lines": 1 if tool == "celllm" else len(inspect.getsource(TOOLS[tool]).splitlines()) - 3}
        )
    return rows


def on_splits(run: Path, work: Path, pythons: dict[str, str], wanted: list[int]) -> pd.DataFrame:
    """Return mean and interval of each tool over the splits of a benchmark, on tasks with validation cells."""
    from celllm.base.interval import mean_over
    from celllm.bench.influence import influence
    from celllm.config.catalogue import read
    from celllm.splits import format as split_files

    rows = []
    catalogue = read(run / "results/bench/catalogue.json")
    for task in (catalogue.tasks[name] for name in catalogue.runs):
        if task.kind != "classification" or not task.validation:
            continue
        cells = ad.read_h5ad(run / f"results/cells/{task.dataset}.h5ad")
        cells.obs[LABELS] = cells.obs["label"].astype(str)
        found: dict[str, list[tuple[float, float, float]]] = {tool: [] for tool in pythons}
        for number in wanted:
            split, folder = (
                split_files.read(run / f"results/splits/{task.task}/split{number}.parquet"),
                work / task.task / str(number),
            )
            subsets = {name: split.rows(name, list(cells.obs_names)) for name in ("train", "test")}
            if not (folder / "query.h5ad").exists():
                folder.mkdir(parents=True, exist_ok=True)
                cells[subsets["train"]].copy().write_h5ad(folder / "reference.h5ad")
                cells[subsets["test"]].copy().write_h5ad(folder / "query.h5ad")
            for tool, python in pythons.items():
                costs = costs_of(folder, tool, command_of(tool, python, folder))
                said = pd.read_csv(folder / f"{tool}.txt", header=None, sep="\t", dtype=str)[0].to_numpy()
                table = pd.DataFrame({"truth": cells.obs[LABELS].to_numpy()[subsets["test"]], "predicted": said})
                error = influence(table, task.headline, kind=task.kind, split=task.split).error
                found[tool].append((headline(table, task.headline), error, costs["cpu_s"]))
        for tool, of_tool in found.items():
            values, errors, cpu_s = zip(*of_tool, strict=True)
            mean = mean_over(values, errors, test=task.test, train=task.train)
            low, high = mean.interval((0, 1))
            rows.append((task.task, tool, task.headline, len(values), mean.value, low, high, sum(cpu_s) / len(cpu_s)))
    columns = ["task", "tool", "metric", "splits", "value", "low", "high", "cpu_s"]
    return pd.DataFrame(rows, columns=columns).round(4)


def headline(table: pd.DataFrame, metric: str) -> float:
    """Return macro-F1, or F1 of one class for a metric such as f1_sensitive."""
    from sklearn.metrics import f1_score

    one = None if metric == "macro_f1" else [metric.removeprefix("f1_")]
    return float(f1_score(table["truth"], table["predicted"], labels=one, average="macro", zero_division=0))


def main() -> None:
    """Compare, or with --label do one tool's part of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder of files and finished runs")
    parser.add_argument(
        "--celltypist", help="Python with perf/compare-celltypist.txt, which has scanpy for pca_knn too"
    )
    parser.add_argument("--scanvi", help="Python with perf/compare-scanvi.txt")
    parser.add_argument("--concord", help="Python with perf/compare-concord.txt")
    parser.add_argument("--run", type=Path, help="folder of a finished benchmark, whose splits the tools are run on")
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="with --run: which of them")
    parser.add_argument("--label", choices=TOOLS, help="label the query in --work with this tool, and nothing else")
    args = parser.parse_args()
    if args.label:
        label(args.label, args.work)
        return
    pythons = {"celltypist": args.celltypist, "scanvi": args.scanvi, "concord": args.concord}
    pythons["pca_knn"] = args.celltypist
    if args.run:
        given = {tool: python for tool, python in pythons.items() if python and tool != "pca_knn"}
        table = on_splits(args.run, args.work, given, args.splits)
        table.to_csv(args.work / "rivals.tsv", sep="\t", index=False)
        print(table.to_string(index=False))
        return
    rows: list[dict[str, Any]] = []
    for number, (name, read) in enumerate(pairs(args.mirror).items()):
        folder = args.work / str(number)
        if not (folder / "query.h5ad").exists():
            folder.mkdir(parents=True, exist_ok=True)
            reference, query = read()
            reference.write_h5ad(folder / "reference.h5ad")
            query.write_h5ad(folder / "query.h5ad")
        rows += compared(name, folder, {tool: python for tool, python in pythons.items() if python})
    table = pd.DataFrame(rows)
    table.to_csv(args.work / "compare.tsv", sep="\t", index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
