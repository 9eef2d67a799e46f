"""What every method answers, and how a row of config/methods.tsv becomes an object."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from celllm.base.errors import InputError
from celllm.config.explain import unknown
from celllm.config.settings import FitBudget
from celllm.config.tables import COMPONENTS, Method
from celllm.harmonise.vocabulary import Vocabulary
from celllm.splits.units import Cells, Pairs

METHODS = "config/methods.tsv"
PACKAGES = ("celllm", "sklearn")
"""Packages whose classes a row may name; nothing else is imported."""


class BenchMethod:
    """What all methods share: options from their row, checked; a random seed; the file they start from.

    `options` has values by option; of others the class's `defaults` hold. `encoder`: a pretrained encoder or principal
    components, where the row names one. `vocabulary`: the gene axis of the cells.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    """All options, with the value each has where the row gives none."""
    choices: ClassVar[Mapping[str, Sequence[Any]]] = {}
    """Options with few values, and which."""
    search: ClassVar[Mapping[str, Sequence[Any]]] = {}
    """Values to choose from on the validation subset, where the row's column `search` gives none."""
    is_cheap = False
    """Whether a fit takes seconds, so that all values to choose from are tried where any are."""
    budget = FitBudget()
    """How long it may learn, where it learns batch by batch; the job sets it."""
    device = "cpu"
    """Where torch computes, `cpu` or `cuda`; the job sets it, as the next."""
    is_mixed = False
    """Whether torch multiplies in bfloat16 (autocast), weights and sums staying in 32 bits."""
    components_file: Path | None = None
    """Principal components of the corpus, where the option `beside` asks for them; the job sets it."""
    shown_units = 0
    """Training units shown to it, repeats counted; 0 where it does not learn batch by batch."""
    sees_test_labels = False
    """Whether labels of the test subset are shown to it, as they are to a control alone."""
    trained_parameters = 0
    """Numbers that fitting changed."""

    def __init__(self, options: Mapping[str, Any], *, seed: int, encoder: Path | None, vocabulary: Vocabulary) -> None:
        self.options = take_options(options, self.defaults, choices=self.choices)
        self.seed, self.encoder_file, self.vocabulary = seed, encoder, vocabulary
        self.shared: dict[Any, Any] = {}
        """What the runs of a job, on the same data, keep for one another; the job sets it."""


class Classifier(BenchMethod, ABC):
    """A method for tasks of kind classification."""

    classes_: np.ndarray = np.array([], dtype=str)
    """Classes it knows once it is fitted."""

    @abstractmethod
    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from the rows `train` alone; `validation`, which may be empty, serves to choose and never to learn."""

    @abstractmethod
    def predict(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        """Return scores, rows x `classes_`; the largest is the predicted class."""


class Regressor(BenchMethod, ABC):
    """A method for tasks of kind regression."""

    @abstractmethod
    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from the rows `train` alone; `validation`, which may be empty, serves to choose and never to learn."""

    @abstractmethod
    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        """Return the responses of the rows, ln IC50."""


Builder = Callable[..., Classifier | Regressor]


def build(
    row: Method, options: Mapping[str, Any], *, seed: int, encoder: Path | None, vocabulary: Vocabulary
) -> Classifier | Regressor:
    """Make a method from its row of config/methods.tsv, with the options of this run.

    InputError if the module is neither ours nor scikit-learn's or has no such class, an option is unknown, or an
    encoder is due and none is given.
    """
    if row.encoder is not None and encoder is None:
        is_pca = row.encoder == COMPONENTS
        what = "the corpus's principal components" if is_pca else "a pretrained encoder"
        made = "bench/pca" if is_pca else "pretrain/<encoder>/seed0/encoder"
        raise InputError(
            file=METHODS,
            field=f"encoder of {row.method}",
            expected=f"--encoder FILE, since the method starts from {what}",
            found="no --encoder",
            remedy=f"give the file: --encoder results/{made}.safetensors",
        )
    found = class_of(row)
    try:
        return found(options, seed=seed, encoder=encoder if row.encoder else None, vocabulary=vocabulary)
    except InputError as error:
        error.add_note(f"in the row {row.method} of {METHODS}")
        raise


def class_of(row: Method) -> Builder:
    """Import the class that a row names; only from this package or scikit-learn, since a table is data, not code.

    An estimator of scikit-learn is wrapped by what the row has it learn from.
    """
    module, name = row.module, row.method
    where, _, class_name = module.partition(":")
    package = where.partition(".")[0]
    if package not in PACKAGES or not class_name.isidentifier():
        raise InputError(
            file=METHODS,
            field=f"module of {name}",
            expected="sklearn.<module>:<Estimator> or celllm.<room>.<module>:<Class>, "
            "such as sklearn.linear_model:LogisticRegression",
            found=repr(module),
            remedy="name a classifier of scikit-learn, or put the class under src/celllm/bench/methods",
        )
    if package == "sklearn":
        from celllm.bench.methods.estimators import SklearnClassifier, estimator_class

        wrapper: Any = SklearnClassifier
        if row.kind == "regression":
            from celllm.bench.methods.responses import SklearnRegressor as wrapper
        elif row.encoder not in (None, COMPONENTS):
            from celllm.bench.methods.embedded import EmbeddedClassifier as wrapper
        return partial(wrapper, estimator_class(module, name=name))
    return cast("Builder", imported(where, class_name, name=name))


def imported(where: str, class_name: str, *, name: str) -> Any:  # noqa: ANN401 - a class
    """Import a class that the row `name` names; InputError if there is no such module, or no such class in it."""
    try:
        return getattr(importlib.import_module(where), class_name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not where.startswith(str(error.name)):
            raise  # a library the method needs is missing: another mistake, with its own message
        raise InputError(
            file=METHODS,
            field=f"module of {name}",
            expected="a module and class that exist",
            found=f"{where}:{class_name} ({error})",
            remedy="look at src/celllm/bench/methods, or at scikit-learn's list of classes, for what there is",
        ) from None


def take_options(
    options: Mapping[str, Any], defaults: Mapping[str, Any], *, choices: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """Fill in defaults.

    InputError for an option that the method does not know, or a value that is none of its `choices`.
    """
    taken = {**defaults, **options}
    for option in taken.keys() - defaults.keys():
        raise unknown(option, defaults, file=METHODS, field="options")
    for name, allowed in choices.items():
        if taken[name] not in allowed:
            raise unknown(str(taken[name]), map(str, allowed), file=METHODS, field=f"options.{name}")
    return taken


def labelled(cells: Cells, rows: np.ndarray) -> np.ndarray:
    """Return the labels of the rows to learn from.

    InputError if one of them has no label, or if all have the same: there is nothing to tell apart.
    """
    labels: np.ndarray = cells.labels[rows]
    classes, n_without = np.unique(labels), int((labels == "").sum())
    if n_without:
        fault = ("training cells that have a label", f"{n_without} without")
        remedy = "make the split again: snakemake --forcerun make_splits"
    elif len(classes) < 2:
        fault = ("at least 2 classes among the training cells", ", ".join(classes) or "no cell")
        remedy = "raise the task's train fraction in config/tasks.tsv"
    else:
        return labels
    raise InputError(file="split", field="train", expected=fault[0], found=fault[1], remedy=remedy)
