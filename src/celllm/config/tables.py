"""`config/*.tsv`: data sets, the files behind them, benchmark tasks, methods, runs and published numbers.

One dataclass a table. Its fields are the columns; their docstrings say what a cell holds.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from celllm.base.errors import InputError
from celllm.config.columns import JsonObject, Search, Seeds, Share, WholeNumber, Words
from celllm.config.datasets import Dataset, Key, SourceFile
from celllm.config.table import ROW, Table, read_rows

__all__ = ["COMPONENTS", "Claim", "Dataset", "Method", "Run", "SourceFile", "Table", "Task"]

LINEAR, LINEAR_NEW_DRUGS = "linear_reference", "linear_reference_new_drugs"
"""Roles of the linear model that every number is measured by, and of the one where tested drugs were never met."""
LINEAR_BASELINE, MATCHED = "linear_baseline", "matched_baseline"
"""Roles of further linear models, and of the other encoder that is pretrained on the same cells for as many steps."""
SCRATCH = "scratch_reference"
"""Role of the paper's network without pretraining."""
UPPER, LOWER = "upper_control", "lower_control"
"""Roles of the control that must win and of the one that must lose."""
SINGLE_ROLES = (LINEAR, LINEAR_NEW_DRUGS, SCRATCH, UPPER, LOWER)
"""Roles of one method of each kind."""
COMPONENTS = "components"
"""In place of an encoder: the method starts from principal components of the corpus."""
PRETRAIN = ".pretrain"
"""Between a method's name and the seed of its encoder's pretraining, where that is not the configuration's."""
SPLITS = {"classification": ("random", "donors"), "regression": ("pairs", "lines", "drugs", "both")}
"""Strategies by which units are divided, by type of task."""
METRICS = {
    "classification": (
        *("accuracy", "macro_f1", "balanced_accuracy", "auroc", "ece", "brier"),
        *("f1_sensitive", "f1_resistant"),
    ),
    "regression": ("pearson", "spearman", "rmse", "mae", "r2", "pearson_per_drug", "pearson_per_line"),
}
"""Metrics that a task may lead with, by its type; F1 of sensitive or resistant where those are the labels."""


@dataclass(frozen=True, config=ROW)
class Task:
    """One row of `tasks.tsv`: a benchmark."""

    task: Key
    """Key."""
    kind: Literal["classification", "regression"]
    """`classification` (of cells) or `regression` (over pairs of line and drug)."""
    title: str
    """What tables and figures call it."""
    dataset: str
    """Where its cells come from."""
    response: str | None
    """Where its drug responses come from."""
    split: Literal["random", "donors", "pairs", "lines", "drugs", "both"]
    """`random` over cells, stratified; `donors`: one donor's cells are tested at a time; `pairs`; `lines`, `drugs`:
    whole cell lines, whole drugs; `both`: neither line nor drug is met in training."""
    split_seeds: Seeds
    """Seeds of the splits; of `donors`, positions of the tested donor among all, sorted by name."""
    train: Share
    """Share of the units for training."""
    validation: Share
    """Share of the units for model selection."""
    test: Share
    """Share of the units for the reported score."""
    min_class_size: WholeNumber
    """Classes with fewer labelled cells take no part."""
    protocol: Literal["clean", "compat"]
    """`clean` (ours), or `compat`: what the released code does, so the epoch is chosen on the very cells whose score
    is reported."""
    headline: str
    """Name of the metric that the main table leads with."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Task:
        total = self.train + self.validation + self.test
        of_kind = SPLITS[self.kind]
        if total > 1 + 1e-9:
            msg = f"shares that sum to at most 1: {self.train} + {self.validation} + {self.test} = {total:g}"
        elif not self.train or not (self.test or self.split == "donors"):
            msg = "train and test shares above 0; of donors test 0, since a donor is tested"
        elif self.headline not in METRICS[self.kind]:
            msg = f"a headline that is a metric of {self.kind}: {', '.join(METRICS[self.kind])}"
        elif self.split not in of_kind or (self.split == "donors" and self.test):
            msg = f"a split of {self.kind}: {', '.join(of_kind)}; of donors with test 0, since a donor is tested"
        elif self.protocol == "compat" and self.validation:
            msg = "validation 0 under the protocol compat, which chooses on the test cells"
        else:
            return self
        raise ValueError(msg)


@dataclass(frozen=True, config=ROW)
class Method:
    """One row of `methods.tsv`: something that is fitted to tasks."""

    method: Key
    """Key."""
    kind: Literal["classification", "regression"]
    """`classification` or `regression`."""
    title: str
    """What tables and figures call it."""
    module: str
    """Where its class is: `package.module:Class`."""
    encoder: str | None
    """Pretrained encoder it starts from, a key of the configuration's `encoders`, or `components`; none: it needs
    no encoder. An estimator of scikit-learn learns from the encoder's frozen embedding."""
    options: JsonObject
    """Settings of the class, a JSON object."""
    search: Search
    """Values of options to choose from on validation cells, JSON lists by option; empty: nothing is chosen."""
    seeded: bool
    """Whether the outcome depends on the model seed; if not, one seed is run."""
    role: Literal[
        "ours",
        "ablation",
        "baseline",
        "linear_baseline",
        "matched_baseline",
        "trivial",
        "linear_reference",
        "linear_reference_new_drugs",
        "scratch_reference",
        "upper_control",
        "lower_control",
    ]
    """What it is there for. `ours` is compared with the best linear model, the matched one and the scratch reference:
    that family of comparisons is corrected for. References stand beside every number of a pretrained encoder; controls
    bound a task."""

    compat: JsonObject = Field(default_factory=dict)
    """Settings under the protocol compat, over `options`: those of the released code (docs/benchmark.md)."""

    pretrain_seed: WholeNumber | None = None
    """Seed of the encoder's pretraining; none: the configuration's. A table of runs asks for another by
    `METHOD.pretrain1`."""

    def under(self, protocol: str) -> Method:
        """Return the method with the settings of a protocol."""
        return replace(self, options=self.options | self.compat) if protocol == "compat" else self

    @property
    def stem(self) -> str:
        """Name of the row, whatever the pretraining seed."""
        return self.method if self.pretrain_seed is None else self.method.rpartition(PRETRAIN)[0]

    def pretrained_with(self, seed: int) -> Method:
        """Return the method on an encoder of another pretraining seed, a method of its own beside this one."""
        name, title = f"{self.method}{PRETRAIN}{seed}", f"{self.title} (pretraining seed {seed})"
        return replace(self, method=name, title=title, role="ablation", pretrain_seed=seed)

    @model_validator(mode="after")
    def _fixed_or_searched(self) -> Method:
        twice = sorted(set(self.options) & set(self.search))
        if twice:
            msg = f"options that stand in one of the columns options and search, not in both: {twice[0]}"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, config=ROW)
class Run:
    """One row of a table of runs, such as `config/runs/demo.tsv`: methods on a task."""

    task: str
    """A row of `tasks.tsv`; a task may have several rows, with different methods."""
    methods: Words
    """Rows of `methods.tsv`, separated by blanks."""
    splits: Seeds | None = None
    """Split seeds, some of the task's; none: all of them."""
    seeds: Seeds = (0,)
    """Model seeds, of methods with random numbers of their own; the others run with the first."""
    optional: bool = False
    """Whether the task is shown as not run where its files are not at hand, in place of an error."""


@dataclass(frozen=True, config=ROW)
class Claim:
    """One row of `claims.tsv`: a number that somebody published."""

    claim: str
    """Key."""
    source: str
    """Where the number stands."""
    task: str
    """Task of ours it belongs to; `a+b` for a mean over two tasks."""
    method: str
    """Method of ours it belongs to."""
    metric: str
    """Name of the metric."""
    paper: Annotated[float, Field(ge=-1, le=1)]
    """The published value, a fraction and not a percentage."""
    tolerance: Annotated[float, Field(ge=0, le=1)]
    """Largest distance between ours and the published value that still counts as reproduced."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks the number is a mean over; mostly one."""
        return tuple(self.task.split("+"))


read_datasets = partial(read_rows, model=Dataset, key="dataset", unique=("dataset",))
read_files = partial(read_rows, model=SourceFile, key="dataset", unique=("dataset", "file"))
read_tasks = partial(read_rows, model=Task, key="task", unique=("task",))
read_runs = partial(read_rows, model=Run, key="task", unique=())
read_claims = partial(read_rows, model=Claim, key="claim", unique=("claim",))
"""Readers of the tables, given a path; InputError names the file, the row's column and what it may hold."""


def read_methods(path: Path | str) -> Table[Method]:
    """Read `methods.tsv`; refused are options both fixed and searched, and two methods of a role that one may have."""
    table = read_rows(path, Method, key="method", unique=("method",))
    holders: dict[tuple[str, str], str] = {}
    for row in table:
        if row.role in SINGLE_ROLES and holders.setdefault((row.kind, row.role), row.method) != row.method:
            raise InputError(
                file=path,
                field=f"role of {row.method}",
                expected=f"one method of kind {row.kind} with the role {row.role}",
                found=f"{holders[row.kind, row.role]} and {row.method}",
                remedy="give one of the two another role",
            )
    return table
