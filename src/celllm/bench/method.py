"""The two calls every method answers, and how a row of config/methods.tsv becomes an object."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from celllm.base.errors import InputError
from celllm.config.tables import COMPONENTS, Method
from celllm.harmonise.vocabulary import Vocabulary
from celllm.splits.units import Cells, Pairs

_PACKAGE = "celllm."
Value = TypeVar("Value")


class Classifier(Protocol):
    """A method for tasks of kind classification."""

    sees_test_labels: bool
    classes_: np.ndarray
    trained_parameters: int

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from the rows `train` alone; `validation`, which may be empty, serves to choose and never to learn."""

    def predict(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        """Return scores, rows x `classes_`; the largest is the predicted class."""


class Regressor(Protocol):
    """A method for tasks of kind regression."""

    sees_test_labels: bool
    trained_parameters: int

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from the rows `train` alone; `validation`, which may be empty, serves to choose and never to learn."""

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        """Return the responses of the rows, ln IC50."""


Builder = Callable[..., Classifier | Regressor]


def build(
    row: Method,
    *,
    seed: int,
    encoder: Path | None,
    vocabulary: Vocabulary,
    file: Path | str,
) -> Classifier | Regressor:
    """Make a method from its row of config/methods.tsv.

    Parameters
    ----------
    row
        Of config/methods.tsv.
    seed
        Of the method's own random numbers.
    encoder
        The file of a pretrained encoder, or of the corpus's components, for methods that need one.
    vocabulary
        The gene axis of the cells.
    file
        The table, named in errors.

    Raises
    ------
    InputError
        If the module is none of ours or has no such class, an option is unknown, or an encoder is due
        and none is given.
    """
    if row.encoder is not None and encoder is None:
        is_pca = row.encoder == COMPONENTS
        what = "the corpus's principal components" if is_pca else "a pretrained encoder"
        made = "components/pca" if is_pca else "pretrain/<recipe>/seed0/encoder"
        raise InputError(
            file=file,
            field=f"recipe of {row.method}",
            expected=f"--encoder FILE, since the method starts from {what}",
            found="no --encoder",
            remedy=f"give the file: --encoder results/{made}.safetensors",
        )
    found = class_of(row.module, name=row.method, file=file)
    try:
        return found(row.options, seed=seed, encoder=encoder, vocabulary=vocabulary)
    except InputError as error:
        error.add_note(f"in the row {row.method} of {file}")
        raise


def class_of(module: str, *, name: str, file: Path | str) -> Builder:
    """Import the class that a row names; only from this package, since a table is data, not code."""
    where, _, class_name = module.partition(":")
    if not where.startswith(_PACKAGE) or not class_name.isidentifier():
        raise InputError(
            file=file,
            field=f"module of {name}",
            expected="celllm.<room>.<module>:<Class>, such as celllm.bench.methods.logistic:LogisticRegressionOnGenes",
            found=repr(module),
            remedy="put the method into the package, under src/celllm/baselines, and name it there",
        )
    try:
        found = getattr(importlib.import_module(where), class_name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not where.startswith(str(error.name)):
            raise  # a library the method needs is missing: another mistake, with its own message
        raise InputError(
            file=file,
            field=f"module of {name}",
            expected="a module and class that exist",
            found=f"{module} ({error})",
            remedy="look at src/celllm/baselines and src/celllm/tasks for the methods there are",
        ) from None
    return cast("Builder", found)


def take_options(options: Mapping[str, Any], defaults: Mapping[str, Value]) -> dict[str, Any]:
    """Fill in defaults; an unknown option is refused.

    Raises
    ------
    InputError
        For an option that the method does not know.
    """
    unknown = [option for option in options if option not in defaults]
    if unknown:
        raise InputError(
            file="config/methods.tsv",
            field="options",
            expected=f"any of {', '.join(defaults) or 'none'}",
            found=unknown[0],
            remedy="correct or remove it",
        )
    return {**defaults, **options}


def choose(options: Mapping[str, Any], name: str, allowed: Sequence[str]) -> None:
    """Check an option that has few values.

    Raises
    ------
    InputError
        If it has another.
    """
    if options[name] not in allowed:
        near = difflib.get_close_matches(str(options[name]), allowed, n=1)
        raise InputError(
            file="config/methods.tsv",
            field=f"options.{name}",
            expected=f"one of {', '.join(allowed)}",
            found=repr(options[name]),
            remedy=f"did you mean {near[0]}?" if near else "correct it",
        )
