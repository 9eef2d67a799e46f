"""A linear classifier of cells and its file: whatever it was taught on, it is one matrix on an embedding or on genes.

Shapes: N cells, F features (numbers of an embedding, or log-normalised genes), K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import log_softmax, softmax

from celllm.annotate.novelty import Types
from celllm.base import tensors
from celllm.base.errors import InputError

FORMAT = "celllm-labels-2"
Features = Literal["embedding", "genes"]
Views: TypeAlias = Mapping[Features, "NDArray[Any] | sparse.csr_matrix"]
"""What is known of N cells, each N x F: their embeddings and log-normalised genes."""


@dataclass(frozen=True)
class LinearHead:
    """Class probabilities of cells: softmax((sum of x W over what it sees + b) / temperature)."""

    weights: Mapping[Features, NDArray[np.float64]]
    """W, F x K, of each that it sees."""
    bias_K: NDArray[np.float64]
    """b."""
    classes: tuple[str, ...]
    """Names of the K classes, in order."""
    temperature: float = 1.0
    """Above 1 where the bare probabilities are too sure."""

    def probabilities(self, views: Views) -> NDArray[np.float64]:
        """Return N x K; rows sum to 1."""
        logits_NK = sum(np.asarray(views[name] @ w_FK) for name, w_FK in self.weights.items()) + self.bias_K
        return np.asarray(softmax(logits_NK / self.temperature, axis=1))


def of_fitted(
    logistic: Any,  # noqa: ANN401 - scikit-learn has no types
    steps: Mapping[Features, Any],
) -> LinearHead:
    """Turn a logistic regression on what linear steps (PCA, StandardScaler; None) made of views into one matrix each.

    `logistic` is fitted on the steps' outputs side by side, `steps` are what each view went through, in that order.
    """
    whole_FK, bias_K = logistic.coef_.T.astype(np.float64), logistic.intercept_.astype(np.float64)
    if whole_FK.shape[1] == 1:  # of two classes scikit-learn keeps the second's alone
        whole_FK = np.hstack([np.zeros_like(whole_FK), whole_FK])
        bias_K = np.array([0.0, bias_K[0]])
    weights: dict[Features, NDArray[np.float64]] = {}
    for name, step in steps.items():
        n = len(whole_FK) if step is None else step.get_feature_names_out().size
        w_FK, whole_FK = whole_FK[:n], whole_FK[n:]
        if step is not None:
            w_FK = step.components_.T @ w_FK if hasattr(step, "components_") else w_FK / step.scale_[:, None]
            bias_K = bias_K - step.mean_ @ w_FK
        weights[name] = w_FK
    return LinearHead(weights, bias_K, tuple(str(name) for name in logistic.classes_))


def calibrated(head: LinearHead, probabilities_NK: NDArray[np.float64], truth_N: NDArray[np.str_]) -> LinearHead:
    """Set the temperature at which held-out cells are likeliest (Guo et al. 2017, arXiv:1706.04599).

    `probabilities_NK` are the bare ones of cells that nothing was taught on, in the order of the head's classes;
    `truth_N` their labels, all among the classes.
    """
    from scipy.optimize import minimize_scalar

    places_N = np.searchsorted(np.array(head.classes), truth_N)
    is_known = probabilities_NK[np.arange(len(places_N)), places_N] > 0  # else a class that its fold was not taught
    places_N, logs_NK = places_N[is_known], np.log(np.maximum(probabilities_NK[is_known], 1e-300))

    def loss(log_temperature: float) -> float:
        logs = log_softmax(logs_NK / np.exp(log_temperature), axis=1)
        return -float(logs[np.arange(len(places_N)), places_N].mean())

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return replace(head, temperature=float(np.exp(best.x)))


@dataclass(frozen=True)
class Model:
    """What `celllm annotate --save` keeps."""

    head: LinearHead
    """The classifier."""
    types: Types
    """Where the reference's types lie in the embedding."""
    encoder: str
    """Sha256 of the encoder."""
    vocabulary: str
    """Digest of the gene axis."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How it was chosen and from what."""


def save(model: Model, path: Path | str) -> None:
    """Write a model, safetensors, whole or not at all."""
    header = {
        "classes": list(model.head.classes),
        "temperature": model.head.temperature,
        "encoder": model.encoder,
        "vocabulary": model.vocabulary,
        "facts": dict(model.facts),
    }
    arrays = {
        **{f"weights.{name}": weights_FK for name, weights_FK in model.head.weights.items()},
        "bias": model.head.bias_K,
        "whitening": model.types.whitening_DD,
        "centres": model.types.centres_KD,
        "held_out": model.types.held_out_N,
    }
    single = {name: array.astype(np.float32) for name, array in arrays.items()}
    tensors.write(path, form=FORMAT, header=header, tensors=single)


def load(path: Path | str, *, encoder: str, vocabulary: str, sizes: Mapping[str, int]) -> Model:
    """Read a model; `sizes` has the number of features of each kind.

    InputError if the file is none or its parts do not fit, or it was made with another encoder; VocabularyMismatch if
    its genes are others.
    """
    remedy = "give the file that celllm annotate --save wrote, and the --encoder that it was saved with"
    entries = ("classes", "temperature", "encoder", "facts")
    header, arrays = tensors.read(path, form=FORMAT, remedy=remedy, vocabulary=vocabulary, entries=entries)
    if header["encoder"] != encoder:
        raise InputError(
            file=path,
            field="encoder",
            expected=f"encoder {header['encoder'][:12]}…, with which the model was made",
            found=f"encoder {encoder[:12]}…",
            remedy="give that encoder with --encoder, or annotate from the reference again",
        )
    _check_parts(arrays, header, sizes, path=path, remedy=remedy)
    double = {name: array.astype(np.float64) for name, array in arrays.items()}
    head = LinearHead(
        weights={name: double[f"weights.{name}"] for name in get_args(Features) if f"weights.{name}" in double},
        bias_K=double["bias"],
        classes=tuple(header["classes"]),
        temperature=header["temperature"],
    )
    types = Types(double["whitening"], double["centres"], double["held_out"])
    return Model(head, types, header["encoder"], header["vocabulary"], header["facts"])


def _check_parts(
    arrays: Mapping[str, NDArray[Any]],
    header: Mapping[str, Any],
    sizes: Mapping[str, int],
    *,
    path: Path | str,
    remedy: str,
) -> None:
    """Raise InputError if a part is missing, or parts do not fit each other or the features there are."""
    n_classes, width, temperature = len(header["classes"]), sizes["embedding"], header["temperature"]
    expected: dict[str, tuple[int, ...]] = {
        **{f"weights.{name}": (size, n_classes) for name, size in sizes.items() if f"weights.{name}" in arrays},
        "bias": (n_classes,),
        "whitening": (width, width),
        "centres": (n_classes, width),
        "held_out": arrays.get("held_out", np.empty(1)).shape,
    }
    found = {name: array.shape for name, array in arrays.items()}
    is_number = isinstance(temperature, (int, float)) and 0 < temperature < float("inf")
    if found != expected or not any(name.startswith("weights") for name in found) or not is_number:
        said = f"{found}, temperature {temperature}"
        raise InputError(
            file=path, field="weights", expected=f"{expected}, temperature above 0", found=said, remedy=remedy
        )
