"""The study of pretraining: `python perf/study.py PLAN --results results --work DIR`, then `--summary` of its scores.

A plan, such as perf/study.yaml, names variants of a recipe. Each is pretrained by `celllm pretrain` with each seed for
the same number of cells, in a process with one thread, and its frozen embedding of each task's cells is read by
logistic regression, beside principal components of the corpus and genes. DIR/scores.tsv gets a row for each variant,
seed, task, features, share of labels and split; DIR/encoders.tsv what each encoder took. What is there is not done
again.

Protocol: 20 % of a task's cells are tested, the same for every share and variant, so differences are paired; embeddings
and components are standardised on the training cells, C is chosen among three inside the training cells (3 folds with
5 % of the labels, one cut of 80 to 20 else), cells without a label and classes below 10 cells take no part.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import sparse

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from celllm.base.atomic import writing
from celllm.base.interval import mean_over
from celllm.base.provenance import digest_of
from celllm.config import recipe as recipes
from celllm.config.overlays import paths_of
from celllm.config.recipe import Recipe
from celllm.corpus import components
from celllm.harmonise import cells as cell_files
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.pretrain.probe import drawn, standardised
from celllm.splits.units import cells_from

KEY = ["variant", "seed", "task", "features", "share", "split"]
GRIDS = {"genes": (0.03, 0.3, 3.0), "other": (0.003, 0.03, 0.3)}
"""C to choose from; genes are not standardised."""
COMPONENTS, GENES = "components", "genes"
"""Variants without an encoder."""
TEST_SHARE = 0.2


class Plan:
    """What is compared, from YAML: cells, seeds, base (overlays of all), tasks, splits by share, variants by name."""

    def __init__(self, path: Path) -> None:
        values = yaml.safe_load(path.read_text())
        self.tasks: list[str] = values["tasks"]
        self.splits = {float(share): int(n) for share, n in values["splits"].items()}
        self._values = values

    def encoders(self) -> Iterator[tuple[str, int, Recipe]]:
        """Yield variants, seeds and recipes, in the order of the plan; steps follow from the cells to be seen."""
        for name, variant in self._values["variants"].items():
            overlays = paths_of([*self._values["base"], *variant.get("overlays", [])], ROOT / "config/recipes")
            batch = recipes.read(*overlays).training.batch_cells
            n_cells = variant.get("cells", self._values["cells"])
            steps = {"training": {"steps": variant.get("steps", round(n_cells / batch))}}
            for seed in variant.get("seeds", self._values["seeds"]):
                yield name, seed, recipes.read(*overlays, steps)

    def start_of(self, variant: str) -> str | None:
        """Return the variant that is this one untrained."""
        return self._values["variants"].get(variant, {}).get("start")


class Task:
    """Cells of one task, and what is read without an encoder."""

    def __init__(self, name: str, results: Path) -> None:
        vocabulary = vocabulary_file.read(results / "vocabulary/genes.tsv")
        self.name, self.file = name, results / f"cells/{name}.h5ad"
        self.cells = cells_from(cell_files.read(self.file, vocabulary=vocabulary))
        self._pca = components.read(results / "bench/pca.safetensors", vocabulary=vocabulary.digest)

    @cached_property
    def genes(self) -> sparse.csr_matrix:
        """Log-normalised genes."""
        return components.gene_features(self.cells.counts, self.cells.values)

    @cached_property
    def components(self) -> np.ndarray:
        """Principal components of the corpus."""
        return components.projected(self.genes, self._pca)

    def embedded(self, encoder: Path) -> np.ndarray:
        """Embed the cells with a frozen encoder, as `celllm embed_cells` does."""
        import torch

        from celllm.model.inference import embed_cells
        from celllm.model.store import load_encoder

        torch.set_num_threads(1)
        pretrained = load_encoder(encoder, vocabulary=self._pca.vocabulary)
        return embed_cells(pretrained, self.cells.counts, units=self.cells.values).astype(np.float64)

    def features(self, variant: str, encoder: Path | None) -> dict[str, tuple[np.ndarray | None, bool]]:
        """Return by name what is standardised, and whether genes are beside it."""
        if encoder is None:
            return {"alone": (self.components, False) if variant == COMPONENTS else (None, True)}
        embedded = self.embedded(encoder)
        joined = np.hstack([embedded, self.components])
        return {"alone": (embedded, False), "with components": (joined, False), "with genes": (embedded, True)}

    def score(self, dense: np.ndarray | None, *, with_genes: bool, share: float, split: int) -> tuple[float, float]:
        """Return the macro-F1 of the test cells and the C that was chosen."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score
        from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit

        labels = self.cells.labels
        train, test = drawn(labels, self.cells.cell_ids, train=share, seed=split)
        x = self.genes if dense is None else standardised(dense, train)
        if dense is not None and with_genes:
            x = sparse.csr_matrix(sparse.hstack([x, self.genes]))
        folds = StratifiedKFold(3, shuffle=True, random_state=split)
        cut = StratifiedShuffleSplit(1, test_size=0.2, random_state=split)
        model = LogisticRegression(max_iter=2_000, tol=1e-3)
        grid = {"C": GRIDS["genes" if with_genes else "other"]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class of one training cell is in one fold only
            search = GridSearchCV(model, grid, cv=folds if share < 0.5 else cut, scoring="f1_macro")
            search.fit(x[train], labels[train])
        f1 = f1_score(labels[test], search.predict(x[test]), average="macro", zero_division=0)
        return float(f1), float(search.best_params_["C"])


def pretrained(recipe: Recipe, seed: int, results: Path, work: Path, name: str) -> Path:
    """Make an encoder by the project's own commands, unless it is there; note the CPU seconds it took."""
    folder = work / name / f"seed{seed}"
    encoder, history = folder / "encoder.safetensors", folder / "history.jsonl"
    if encoder.is_file():
        return encoder
    folder.mkdir(parents=True, exist_ok=True)
    shared = {"vocabulary": results / "vocabulary/genes.tsv", "recipe": recipe.model_dump_json(), "threads": 1}
    drawn_by = seed if recipe.genes.method == "random" else 0
    made_of = [recipe.genes.model_dump(mode="json"), recipe.encoder.width, drawn_by]
    table = work / "genes" / digest_of(made_of)[:12]
    genes, shards = table.with_suffix(".safetensors"), results / "shards/manifest.json"
    genes_s = 0.0
    if not genes.is_file():
        network = results / "network/edges.parquet"
        genes_s = _run("embed_genes", **shared, network=network, shards=shards, seed=drawn_by, embedding=genes)
    options = {"shards": shards, "genes": genes, "seed": seed, "checkpoints": folder / "checkpoints"}
    cpu_s = _run("pretrain", **shared, **options, accelerator="cpu", encoder=encoder, history=history)
    last = json.loads(history.read_text().splitlines()[-1])
    training = recipe.training
    row = {"variant": name, "seed": seed, "batch": training.batch_cells, "steps": training.steps, "cpu_s": cpu_s}
    row |= {"cells": training.batch_cells * training.steps, "genes_cpu_s": genes_s}
    row |= {figure: last.get(figure) for figure in ("contrastive", "mean_cosine", "uniformity", "effective_rank")}
    _append(work / "encoders.tsv", [row])
    return encoder


def _run(command: str, **options: Any) -> float:
    """Run a command of the project with one thread; return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "celllm", command, *given], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)


def _append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to a table, whole or not at all."""
    before = path.read_text() if path.is_file() else ""
    with writing(path) as part:
        table = pd.DataFrame(rows).to_csv(sep="\t", index=False, header=not before, float_format="%.5g")
        part.write_text(before + table)


def run(plan: Plan, results: Path, work: Path, *, shares: list[float], with_genes: bool) -> None:
    """Do what of the plan is not yet done."""
    scores = work / "scores.tsv"
    work.mkdir(parents=True, exist_ok=True)
    tasks = [Task(name, results) for name in plan.tasks]
    for variant, seed, recipe in [(COMPONENTS, 0, None), (GENES, 0, None), *plan.encoders()]:
        done = set()
        if scores.is_file():
            done = {tuple(row) for row in pd.read_csv(scores, sep="\t")[KEY].itertuples(index=False)}
        encoder = None if recipe is None else pretrained(recipe, seed, results, work, variant)
        for task in tasks:
            wanted = [
                (variant, seed, task.name, name, share, split)
                for name in (["alone"] if encoder is None else ["alone", "with components", "with genes"])
                for share in shares
                for split in range(plan.splits[share])
                if with_genes or (name != "with genes" and variant != GENES)
            ]
            wanted = [key for key in wanted if key not in done]
            found = task.features(variant, encoder) if wanted else {}
            rows = []
            for key in wanted:
                dense, beside_genes = found[key[3]]
                f1, chosen = task.score(dense, with_genes=beside_genes, share=key[4], split=key[5])
                rows.append(dict(zip(KEY, key, strict=True)) | {"macro_f1": f1, "C": chosen})
            if rows:
                _append(scores, rows)
        print(f"{variant}, seed {seed}: done", flush=True)


def summary(plan: Plan, scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean macro-F1 by task, and paired differences of the mean of all tasks, averaged over seeds.

    Differences: from the same encoder untrained, and from components of the corpus (joined with genes: from genes). The
    95 % interval is over splits, whose overlap it counts (`mean_over`); `sd_seeds` is between pretraining seeds.
    """
    levels = ["variant", "features", "share"]
    by_seed = scores.pivot_table(index=[*levels, "seed", "split"], columns="task", values="macro_f1")
    by_seed["mean"] = by_seed[plan.tasks].mean(axis=1, skipna=False)
    by_split = by_seed.groupby([*levels, "split"]).mean()
    rows = []
    for (variant, features, share), group in by_split.groupby(levels, sort=False):
        own = by_seed.loc[variant, features, share]
        row = {"variant": variant, "features": features, "share": share, "seeds": len(own.index.unique("seed"))}
        row |= {name: group[name].mean() for name in [*plan.tasks, "mean"]}
        row["sd_seeds"] = own["mean"].groupby("seed").mean().std()
        peers = {"untrained": (plan.start_of(variant), features)}
        peers["reference"] = (GENES if features == "with genes" else COMPONENTS, "alone")
        for name, (peer, peer_features) in peers.items():
            if (peer, peer_features, share) in by_split.index.droplevel("split") and peer != variant:
                difference = group["mean"].droplevel([0, 1, 2]) - by_split.loc[peer, peer_features, share]["mean"]
                values = difference.dropna().to_numpy()
                found = mean_over(values, np.full(len(values), np.nan), test=TEST_SHARE, train=1 - TEST_SHARE)
                low, high = found.interval()
                row[f"from_{name}"] = f"{found.value:+.3f} [{low:+.3f}, {high:+.3f}]"
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Run a plan, or sum up its scores."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("plan", type=Path)
    options.add_argument("--results", type=Path, default=Path("results"), help="cells, shards, network, components")
    options.add_argument("--work", type=Path, required=True, help="folder of encoders and scores")
    options.add_argument("--shares", type=float, nargs="+", help="shares of the labels, of those of the plan")
    options.add_argument("--with-genes", action="store_true", help="also genes, alone and beside each embedding: slow")
    options.add_argument("--summary", action="store_true", help="print a table of the scores there are")
    args = options.parse_args()
    plan = Plan(args.plan)
    if args.summary:
        table = summary(plan, pd.read_csv(args.work / "scores.tsv", sep="\t"))
        table.to_csv(sys.stdout, sep="\t", index=False, float_format="%.3f")
    else:
        run(plan, args.results, args.work, shares=args.shares or list(plan.splits), with_genes=args.with_genes)


if __name__ == "__main__":
    main()
