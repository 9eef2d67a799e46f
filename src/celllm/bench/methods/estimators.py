"""Any estimator of scikit-learn as a method: a row of config/methods.tsv names it, and no class is written for it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from celllm.base.errors import InputError
from celllm.bench.method import METHODS, BenchMethod, Classifier, imported, labelled
from celllm.config.tables import COMPONENTS
from celllm.config.units import Units
from celllm.corpus import components
from celllm.corpus.components import gene_features, projected
from celllm.splits.units import Cells

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse
    from sklearn.base import BaseEstimator


class SklearnMethod(BenchMethod):
    """An estimator of scikit-learn.

    `options` are the method's own, and parameters of the estimator by scikit-learn's own names. A value
    `sklearn.<module>:<Estimator>` becomes such an estimator, whose parameters follow as `estimator__C`. `seed` is the
    estimator's `random_state`, where it has one and the row gives none. InputError for a parameter that it has not, and
    for another kind of estimator.
    """

    is_cheap = True
    what = "classifier"
    """The kind of estimator; the other is `regression`."""

    def __init__(
        self,
        estimator: type[BaseEstimator],
        options: Mapping[str, Any],
        **made_with: Any,  # noqa: ANN401 - as of BenchMethod
    ) -> None:
        from sklearn.base import is_classifier, is_regressor  # takes seconds, and controls.MajorityClass needs none
        from sklearn.utils import get_tags

        super().__init__({name: value for name, value in options.items() if name in self.defaults}, **made_with)
        rest = {name: value for name, value in options.items() if name not in self.defaults}
        inner = {
            name: estimator_class(value, name=name)()
            for name, value in rest.items()
            if isinstance(value, str) and value.startswith("sklearn.")
        }
        try:
            model: Any = estimator(**inner).set_params(**{name: rest[name] for name in rest.keys() - inner.keys()})
        except (TypeError, ValueError) as error:
            raise InputError(
                file=METHODS,
                field="options",
                expected=f"parameters of {estimator.__name__}: {', '.join(inspect.signature(estimator).parameters)}",
                found=str(error),
                remedy="correct or remove it",
            ) from None
        seeded = [name for name in model.get_params() if name.split("__")[-1] == "random_state" and name not in rest]
        self.model = model.set_params(**dict.fromkeys(seeded, self.seed))
        if not (is_classifier if self.what == "classifier" else is_regressor)(model):
            expected = f"a {self.what} of scikit-learn, by the row's kind"
            remedy = f"name a {self.what}, such as sklearn.linear_model:LogisticRegression for classification"
        elif not self.prepare() and not get_tags(model).input_tags.sparse:
            expected = "an estimator that takes sparse matrices, as those of genes are"
            remedy = f"write {COMPONENTS} into the column encoder, to fit it to principal components"
        else:
            return
        raise InputError(file=METHODS, field="module", expected=expected, found=estimator.__name__, remedy=remedy)

    def prepare(self) -> bool:
        """Read the file that it starts from; return whether what the estimator sees is dense."""
        return True


class SklearnClassifier(SklearnMethod, Classifier):
    """A classifier of scikit-learn on log-normalised genes, or on the principal components of the corpus.

    It learns from the training subset alone. Scores are class probabilities, or margins where the estimator gives none.
    `n_neighbors` never exceeds the number of training cells.
    """

    def prepare(self) -> bool:
        file, vocabulary = self.encoder_file, self.vocabulary.digest
        self._components = None if file is None else components.read(file, vocabulary=vocabulary)
        return self._components is not None

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        labels = labelled(cells, train)
        n_neighbors = self.model.get_params().get("n_neighbors")
        if n_neighbors is not None:
            self.model.set_params(n_neighbors=min(n_neighbors, len(labels)))
        self.model.fit(self.features(cells, train), self.targets(labels))
        self.classes_ = self.model.classes_
        self.trained_parameters = n_trained(self.model)

    def predict(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        """Return probabilities or margins, rows x `classes_`."""
        seen = self.features(cells, rows)
        if hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(seen))
        margins = np.asarray(self.model.decision_function(seen))
        # of two classes scikit-learn gives the second's alone
        return np.column_stack([-margins, margins]) if margins.ndim == 1 else margins

    def features(self, cells: Cells, rows: np.ndarray) -> Any:  # noqa: ANN401 - sparse genes or dense components
        """Return what the estimator sees of the rows."""
        genes = gene_features(cells.counts[rows], cells.values)
        return genes if self._components is None else component_features(genes, cells, self._components)

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """Return what the estimator is taught."""
        return labels


def component_features(
    genes: sparse.csr_matrix, cells: Cells, found: components.PrincipalComponents
) -> NDArray[np.float64]:
    """Return the components of log-normalised genes; of cells in other units there are none: InputError."""
    if not Units(cells.values).is_proportional:
        raise InputError(
            file="principal components of the corpus",
            field="values",
            expected="counts or TPM, to be log-normalised as the corpus was",
            found=cells.values,
            remedy="leave the method out of this task",
        )
    return projected(genes, found)


def estimator_class(module: str, *, name: str) -> type[BaseEstimator]:
    """Import an estimator of scikit-learn, given as `sklearn.<module>:<Estimator>` in the row `name`.

    InputError if there is none of that name.
    """
    from sklearn.base import BaseEstimator

    where, _, class_name = module.partition(":")
    found = imported(where, class_name, name=name)
    if not (inspect.isclass(found) and issubclass(found, BaseEstimator)):
        raise InputError(
            file=METHODS,
            field=f"module of {name}",
            expected="an estimator of scikit-learn",
            found=module,
            remedy="name an estimator class, such as sklearn.linear_model:LogisticRegression",
        )
    return found


def n_trained(model: Any) -> int:  # noqa: ANN401 - scikit-learn has no types
    """Count what a fitted estimator learned: weights and intercepts, zeros too, or the leaves of its trees.

    Of other estimators it is 0, as of those that keep the training cells.
    """
    if hasattr(model, "coef_"):
        return int(np.size(model.coef_) + np.size(model.intercept_))
    if hasattr(model, "tree_"):
        return int(model.tree_.n_leaves)
    if hasattr(model, "estimators_"):
        return sum(n_trained(each) for each in np.ravel(model.estimators_))
    return sum(tree.get_n_leaf_nodes() for of_round in getattr(model, "_predictors", []) for tree in of_round)
