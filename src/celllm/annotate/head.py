"""A linear classifier of cells and its file: whatever it was taught on, it is one matrix on an embedding or on genes.

Shapes: N cells, F features (numbers of an embedding, or log-normalised genes), K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import log_softmax, softmax

from celllm.base import tensors
from celllm.base.errors import InputError

FORMAT = "celllm-labels-1"
Features = Literal["embedding", "genes"]


@dataclass(frozen=True)
class LinearHead:
    """Class probabilities of cells: softmax((x W + b) / temperature).

    Parameters
    ----------
    features
        What x is.
    weights_FK, bias_K
        W and b.
    classes
        Names of the K classes, in order.
    temperature
        Above 1 where the bare probabilities are too sure.
    """

    features: Features
    weights_FK: NDArray[np.float64]
    bias_K: NDArray[np.float64]
    classes: tuple[str, ...]
    temperature: float = 1.0

    def probabilities(self, x_NF: NDArray[Any] | sparse.csr_matrix) -> NDArray[np.float64]:
        """Return N x K; rows sum to 1."""
        return np.asarray(softmax(self._logits(x_NF) / self.temperature, axis=1))

    def _logits(self, x_NF: NDArray[Any] | sparse.csr_matrix) -> NDArray[np.float64]:
        return np.asarray(x_NF @ self.weights_FK) + self.bias_K


def of_pipeline(model: Any, features: Features) -> LinearHead:  # noqa: ANN401 - scikit-learn has no types
    """Turn a fitted pipeline of linear steps (PCA, StandardScaler, LogisticRegression) into one matrix."""
    logistic = model[-1]
    weights_FK, bias_K = logistic.coef_.T.astype(np.float64), logistic.intercept_.astype(np.float64)
    if weights_FK.shape[1] == 1:  # of two classes scikit-learn keeps the second's alone
        weights_FK = np.hstack([np.zeros_like(weights_FK), weights_FK])
        bias_K = np.array([0.0, bias_K[0]])
    for step in reversed([step for _, step in model.steps[:-1]]):
        if hasattr(step, "components_"):
            mean_F, weights_FK = step.mean_, step.components_.T @ weights_FK
        else:
            mean_F, weights_FK = step.mean_, weights_FK / step.scale_[:, None]
        bias_K = bias_K - mean_F @ weights_FK
    return LinearHead(features, weights_FK, bias_K, tuple(str(name) for name in logistic.classes_))


def calibrated(head: LinearHead, probabilities_NK: NDArray[np.float64], truth_N: NDArray[np.str_]) -> LinearHead:
    """Set the temperature at which held-out cells are likeliest.

    Parameters
    ----------
    head
        To be calibrated.
    probabilities_NK
        Bare probabilities of cells that nothing was taught on, in the order of the head's classes.
    truth_N
        Their labels, all among the classes.

    Notes
    -----
    Guo et al. 2017, arXiv:1706.04599.
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
    """What `celllm annotate --save` keeps.

    Parameters
    ----------
    head
        The classifier.
    encoder
        Sha256 of the encoder whose embedding it was taught on, or whose genes it sees.
    vocabulary
        Digest of the gene axis.
    facts
        How it was chosen and from what.
    """

    head: LinearHead
    encoder: str
    vocabulary: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def save(model: Model, path: Path | str) -> None:
    """Write a model, safetensors, whole or not at all."""
    header = {
        "features": model.head.features,
        "classes": list(model.head.classes),
        "temperature": model.head.temperature,
        "encoder": model.encoder,
        "vocabulary": model.vocabulary,
        "facts": dict(model.facts),
    }
    arrays = {"weights": model.head.weights_FK.astype(np.float32), "bias": model.head.bias_K.astype(np.float32)}
    tensors.write(path, form=FORMAT, header=header, tensors=arrays)


def load(path: Path | str, *, encoder: str, vocabulary: str, sizes: Mapping[str, int]) -> Model:
    """Read a model; `sizes` has the number of features of each kind.

    Raises
    ------
    InputError
        If the file is none or its parts do not fit, or its head was taught on the embedding of another encoder.
    VocabularyMismatch
        If its genes are others than those of the encoder.
    """
    remedy = "give the file that celllm annotate --save wrote, and the --encoder that it was saved with"
    entries = ("features", "classes", "temperature", "encoder", "facts")
    header, arrays = tensors.read(path, form=FORMAT, remedy=remedy, vocabulary=vocabulary, entries=entries)
    if header["features"] == "embedding" and header["encoder"] != encoder:
        raise InputError(
            file=path,
            field="encoder",
            expected=f"encoder {header['encoder'][:12]}…, on whose embedding the head was taught",
            found=f"encoder {encoder[:12]}…",
            remedy="give that encoder with --encoder, or annotate from the reference again",
        )
    expected = {"weights": (sizes.get(header["features"]), len(header["classes"])), "bias": (len(header["classes"]),)}
    found = {name: array.shape for name, array in arrays.items()}
    temperature = header["temperature"]
    if found != expected or not isinstance(temperature, (int, float)) or not 0 < temperature < float("inf"):
        said = f"{found}, temperature {temperature}"
        raise InputError(
            file=path, field="weights", expected=f"{expected}, temperature above 0", found=said, remedy=remedy
        )
    head = LinearHead(
        features=header["features"],
        weights_FK=arrays["weights"].astype(np.float64),
        bias_K=arrays["bias"].astype(np.float64),
        classes=tuple(header["classes"]),
        temperature=temperature,
    )
    return Model(head, header["encoder"], header["vocabulary"], header["facts"])
