"""The study of pretraining: `python perf/study.py PLAN --results results --work DIR`, then `--summary` of its scores.

A plan, such as perf/study.yaml, names variants of a recipe. Each is pretrained with each seed, in one thread, and its
frozen embedding of each task's cells is read by logistic regression, beside principal components of the corpus and
genes. DIR/scores.tsv gets a row for each variant, seed, task, features, share of labels and split; DIR/encoders.tsv
what each encoder took. What is there is not done again. Where a variant has settings to choose from, the first seed
tries all, and the others go on with the one that is best on validation cells.

Protocol: 20 % of a task's cells are tested, the same for every share and variant, so differences are paired; cells that
are neither tested nor learned from are validation cells, and some of them are tested in other splits; embeddings
and components are standardised on the training cells, C is chosen among three inside the training cells (3 folds with
fewer than half of the labels, one cut of 80 to 20 else), cells without a label and classes below 10 cells take no part.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from scipy import linalg, sparse
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from celllm.base.atomic import writing
from celllm.base.interval import Mean, mean_over
from celllm.base.provenance import digest_of
from celllm.config import recipe as recipes
from celllm.config.overlays import paths_of
from celllm.config.recipe import Recipe
from celllm.corpus import components
from celllm.corpus.reader import cells_of
from celllm.genes import methods
from celllm.harmonise import cells as cell_files
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.model.inference import embed_cells
from celllm.model.store import PretrainedEncoder
from celllm.pretrain import run as pretraining
from celllm.pretrain.probe import drawn
from celllm.splits.units import cells_from

KEY = ["variant", "seed", "task", "features", "share", "split"]
GRIDS = {"with genes": (0.03, 0.3, 3.0), "other": (0.003, 0.03, 0.3)}
"""C to choose from; genes are not standardised."""
COMPONENTS, GENES = "components", "genes"
"""Variants without an encoder."""
TEST_SHARE = 0.2


class Plan:
    """What is compared, from YAML: base (overlays of all), tasks, scores, seeds, variants by name.

    `scores` says how many splits and which features each share of the labels has; a variant has the first share unless
    its `shares` name others.
    """

    def __init__(self, path: Path) -> None:
        self.values = yaml.safe_load(path.read_text())
        self.tasks: list[str] = self.values["tasks"]
        self.scores: dict[float, dict[str, Any]] = self.values["scores"]
        self.variants: dict[str, dict[str, Any]] = self.values["variants"]

    def settings(self, variant: str) -> Iterator[tuple[str, Recipe]]:
        """Yield names and recipes of a variant's settings to choose from; steps follow from the cells to be seen."""
        asked = self.variants[variant]
        base = [*self.values["base"], *asked.get("overlays", [])]
        choices: dict[str, list[Any]] = asked.get("choose", {})
        for chosen in product(*choices.values()):
            in_place = [_nested(key, value) for key, value in zip(choices, chosen, strict=True)]
            overlays = paths_of([*base, *in_place], ROOT / "config/recipes")
            batch = recipes.read(*overlays).training.batch_cells
            steps = asked.get("steps", round(asked.get("cells", self.values["cells"]) / batch))
            name = " ".join([variant, *(str(value) for value in chosen)])
            yield name, recipes.read(*overlays, {"training": {"steps": steps}})

    def wanted(self, variant: str) -> Iterator[tuple[str, float, int]]:
        """Yield features, shares and splits of a task; a variant may ask for some features and shares only."""
        asked = self.variants.get(variant)
        shares = self.scores if asked is None else asked.get("shares", list(self.scores)[:1])
        for share in shares:
            score = self.scores[share]
            features = ["alone"] if asked is None else asked.get("features", score["features"])
            if variant != GENES or "with genes" in score["features"]:
                yield from ((name, share, split) for name, split in product(features, range(score["splits"])))


def _nested(key: str, value: Any) -> dict[str, Any]:
    head, _, rest = key.partition(".")
    return {head: _nested(rest, value) if rest else value}


class Task:
    """Cells of one task, and what is read without an encoder."""

    def __init__(self, name: str, results: Path) -> None:
        vocabulary = vocabulary_file.read(results / "vocabulary/genes.tsv")
        self.name = name
        self.cells = cells_from(cell_files.read(results / f"cells/{name}.h5ad", vocabulary=vocabulary))
        self._pca = results / "bench/pca.safetensors"

    @cached_property
    def genes(self) -> sparse.csr_matrix:
        """Log-normalised genes."""
        return components.gene_features(self.cells.counts, self.cells.values)

    @cached_property
    def components(self) -> np.ndarray:
        """Principal components of the corpus."""
        return components.projected(self.genes, components.read(self._pca))

    @cached_property
    def products(self) -> np.ndarray:
        """Scalar products of the log-normalised genes of all pairs of cells."""
        return np.asarray((self.genes @ self.genes.T).todense())

    def rows(self, name: str, embedded: np.ndarray | None, train: np.ndarray, test: np.ndarray) -> list[np.ndarray]:
        """Return the features of training and of test cells, by name; without an embedding genes alone.

        A penalised regression needs no more of genes than scalar products: a Cholesky factor has the same ones, and as
        many columns as there are training cells.
        """

        def standardised(features: np.ndarray) -> np.ndarray:
            return StandardScaler().fit(features[train]).transform(features)

        dense = None if embedded is None else standardised(embedded)
        if dense is not None and name != "with genes":
            dense = np.hstack([dense, standardised(self.components)]) if name == "with components" else dense
            return [dense[train], dense[test]]
        products = self.products[:, train] if dense is None else self.products[:, train] + dense @ dense[train].T
        among = products[train]
        factor = linalg.cholesky(among + 1e-9 * np.trace(among) / len(train) * np.eye(len(train)), lower=True)
        others = linalg.solve_triangular(factor, products[test].T, lower=True).T
        return [factor.astype(np.float32), others.astype(np.float32)]

    def score(self, name: str, embedded: np.ndarray | None, *, share: float, split: int) -> dict[str, float]:
        """Return the macro-F1 of test and of validation cells, nan if there are none, and the C that was chosen."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score
        from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit

        labels = self.cells.labels
        train, test = drawn(labels, self.cells.cell_ids, train=share, seed=split)
        known = np.flatnonzero(np.isin(labels, labels[test]))
        validation = np.setdiff1d(known, [*train, *test])
        x_train, x_others = self.rows(name, embedded, train, np.concatenate([test, validation]))
        folds = StratifiedKFold(3, shuffle=True, random_state=split)
        cut = StratifiedShuffleSplit(1, test_size=0.2, random_state=split)
        grid = {"C": GRIDS["with genes" if name == "with genes" or embedded is None else "other"]}
        model = LogisticRegression(max_iter=2_000, tol=1e-4 if name == "with genes" or embedded is None else 1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class of one training cell is in one fold only
            search = GridSearchCV(model, grid, cv=folds if share < 0.5 else cut, scoring="f1_macro")
            search.fit(x_train, labels[train])
        found = np.split(search.predict(x_others), [len(test)])
        test_f1, validation_f1 = (
            f1_score(labels[cells], predicted, average="macro", zero_division=0) if len(cells) else np.nan
            for cells, predicted in zip((test, validation), found, strict=True)
        )
        return {"macro_f1": test_f1, "validation_f1": validation_f1, "C": search.best_params_["C"]}


class Study:
    """Does what of a plan is not yet done."""

    def __init__(self, plan: Plan, results: Path, work: Path) -> None:
        self.plan, self.results, self.work = plan, results, work
        for folder in ("genes", "embeddings"):
            (work / folder).mkdir(parents=True, exist_ok=True)
        self.vocabulary = vocabulary_file.read(results / "vocabulary/genes.tsv")
        self.shards = results / "shards/manifest.json"
        self.corpus = cells_of(self.shards, self.vocabulary)
        self.tasks = [Task(name, results) for name in plan.tasks]

    def run(self, variant: str) -> None:
        """Train and score a variant with all its seeds."""
        settings = dict(self.plan.settings(variant))
        first, *others = self.plan.variants[variant].get("seeds", self.plan.values["seeds"])
        for name, recipe in settings.items():
            self.score(variant, name, first, self.embedded(name, recipe, first))
        best = max(settings, key=lambda name: self.on_validation(name, first))
        for seed in others:
            self.score(variant, best, seed, self.embedded(best, settings[best], seed))

    def on_validation(self, name: str, seed: int) -> float:
        """Return the mean score of a setting on validation cells."""
        scores = self.scores()
        return float(scores[(scores["variant"] == name) & (scores["seed"] == seed)]["validation_f1"].mean())

    def scores(self) -> pd.DataFrame:
        """Return the scores so far."""
        path = self.work / "scores.tsv"
        return pd.read_csv(path, sep="\t") if path.is_file() else pd.DataFrame(columns=KEY)

    def score(self, variant: str, name: str, seed: int, embedded: Mapping[str, np.ndarray | None]) -> None:
        """Score an embedding on all tasks."""
        done = set(self.scores()[KEY].itertuples(index=False, name=None))
        for task in self.tasks:
            rows = []
            for features, share, split in self.plan.wanted(variant):
                key = (name, seed, task.name, features, share, split)
                if key not in done:
                    found = task.score(features, embedded[task.name], share=share, split=split)
                    rows.append(dict(zip(KEY, key, strict=True)) | found)
            _append(self.work / "scores.tsv", rows)
        print(f"{time.strftime('%H:%M')} {name}, seed {seed}: scored", flush=True)

    def embedded(self, name: str, recipe: Recipe, seed: int) -> dict[str, np.ndarray | None]:
        """Return the embedding of every task by an encoder, which is trained unless it was."""
        path = self.work / f"embeddings/{name.replace(' ', '-')}-{seed}.npz"
        if not path.is_file():
            started = time.process_time()
            genes_GD = self.gene_vectors(recipe, seed)
            genes_s, started = time.process_time() - started, time.process_time()
            trained = pretraining.pretrain(recipe, self.corpus, gene_embedding=genes_GD, gene_digest="", seed=seed)
            training = recipe.training
            row = {"variant": name, "seed": seed, "batch": training.batch_cells, "steps": training.steps}
            row |= {"cells": training.batch_cells * training.steps, "genes_cpu_s": genes_s}
            row |= {"cpu_s": time.process_time() - started}
            figures = ("contrastive", "mean_cosine", "uniformity", "effective_rank")
            row |= {figure: trained.history[-1].get(figure) for figure in figures}
            encoder = PretrainedEncoder(trained.encoder, recipe, self.vocabulary.digest, trained.panel, digest="")
            made = {t.name: embed_cells(encoder, t.cells.counts, units=t.cells.values) for t in self.tasks}
            with writing(path) as part, part.open("wb") as file:
                np.savez(file, **made)
            _append(self.work / "encoders.tsv", [row])
        return {task: values.astype(np.float64) for task, values in np.load(path).items()}

    def gene_vectors(self, recipe: Recipe, seed: int) -> np.ndarray:
        """Return the gene vectors of a recipe, which are made once; those drawn at random once a seed."""
        drawn_by = seed if recipe.genes.method == "random" else 0
        made_of = [recipe.genes.model_dump(mode="json"), recipe.encoder.width, drawn_by]
        path = self.work / f"genes/{digest_of(made_of)[:12]}.npy"
        if not path.is_file():
            files = {"network": self.results / "network/edges.parquet", "shards": self.shards}
            genes_GD, _ = methods.embedded(recipe, self.vocabulary, files, seed=drawn_by)
            with writing(path) as part, part.open("wb") as file:
                np.save(file, genes_GD)
        return np.asarray(np.load(path))


def _append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to a table, whole or not at all."""
    before = path.read_text() if path.is_file() else ""
    if rows:
        with writing(path) as part:
            table = pd.DataFrame(rows).to_csv(sep="\t", index=False, header=not before, float_format="%.5g")
            part.write_text(before + table)


def over_seeds(difference: pd.DataFrame) -> Mean:
    """Return the mean of a difference, splits x seeds; its variance is that over splits and that over seeds."""
    by_split, by_seed = difference.mean(axis=1).to_numpy(), difference.mean(axis=0).to_numpy()
    found = mean_over(by_split, np.full(len(by_split), np.nan), test=TEST_SHARE, train=1 - TEST_SHARE)
    if len(by_seed) < 2:
        return found
    of_seeds = float(by_seed.var(ddof=1)) / len(by_seed)
    variance = found.variance + of_seeds
    freedom = variance**2 / (found.variance**2 / found.freedom + of_seeds**2 / (len(by_seed) - 1))
    return Mean(found.value, variance, freedom)


def summary(plan: Plan, scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean macro-F1 by task and over tasks, and paired differences, averaged over seeds.

    Differences: from the same encoder untrained, and from components of the corpus (joined with genes: from genes),
    with 95 % intervals over splits, whose overlap is counted (`mean_over`), and seeds. `validation` is the mean over
    validation cells, by which settings are chosen.
    """
    levels, figures = ["variant", "features", "share"], ["macro_f1", "validation_f1"]
    overall = scores.groupby([*levels, "seed", "split"], as_index=False)[figures].mean().assign(task="mean")
    reported = pd.concat([scores, overall])
    table = reported.pivot_table(index=[*levels, "split"], columns=["task", "seed"], values="macro_f1")
    validation = scores.groupby(levels)["validation_f1"].mean()
    rows = []
    for variant, features, share in dict.fromkeys(reported[levels].itertuples(index=False, name=None)):
        own = table.loc[(variant, features, share)].dropna(axis=1, how="all")
        tasks = [task for task in [*plan.tasks, "mean"] if task in own]
        row = {"variant": variant, "features": features, "share": share, "seeds": own["mean"].shape[1]}
        row |= {task: own[task].to_numpy().mean() for task in tasks} | {"sd_seeds": own["mean"].mean().std()}
        row["validation"] = validation[variant, features, share]
        start = plan.variants.get(variant.split(" ")[0], {}).get("start")
        peers = {"untrained": (start, features, share)}
        peers["reference"] = (GENES if features == "with genes" else COMPONENTS, "alone", share)
        for name, peer in peers.items():
            if peer in table.index.droplevel("split") and peer[0] != variant:
                for task in tasks:
                    found = over_seeds(paired(own[task], table.loc[peer][task].dropna(axis=1, how="all")))
                    low, high = found.interval()
                    row[f"from_{name}_{task}"] = f"{found.value:+.3f} [{low:+.3f}, {high:+.3f}]"
        rows.append(row)
    return pd.DataFrame(rows)


def paired(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Return differences, splits x seeds: of the same seeds where both have them, else from their mean."""
    return ours - theirs[ours.columns] if set(ours.columns) <= set(theirs.columns) else ours.sub(theirs.mean(axis=1), 0)


def main() -> None:
    """Run a plan, or sum up its scores."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("plan", type=Path)
    options.add_argument("--results", type=Path, default=Path("results"), help="cells, shards, network, components")
    options.add_argument("--work", type=Path, required=True, help="folder of embeddings and scores")
    options.add_argument("--only", default="", help="regular expression: variants that are run")
    options.add_argument("--summary", action="store_true", help="print a table of the scores there are")
    args = options.parse_args()
    plan = Plan(args.plan)
    if args.summary:
        table = summary(plan, pd.read_csv(args.work / "scores.tsv", sep="\t"))
        table.to_csv(sys.stdout, sep="\t", index=False, float_format="%.3f")
        return
    torch.set_num_threads(1)
    study = Study(plan, args.results, args.work)
    for variant in plan.variants:
        if re.search(args.only, variant):
            study.run(variant)
    for name in (COMPONENTS, GENES):
        if re.search(args.only, name):
            embedded = {t.name: t.components if name == COMPONENTS else None for t in study.tasks}
            study.score(name, name, 0, embedded)


if __name__ == "__main__":
    main()
