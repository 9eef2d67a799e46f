"""Logistic regression on principal components: what an encoder's embedding has to beat."""

from __future__ import annotations

from celllm.bench.methods.components import OnComponents
from celllm.bench.methods.logistic import LogisticRegressionOnGenes


class LogisticOnComponents(OnComponents, LogisticRegressionOnGenes):
    """Logistic regression on the corpus's components, not rescaled: the first ones keep their larger variance."""

    # Variances that differ a hundredfold keep lbfgs busy beyond 1000 iterations; fifty features are few for Newton.
    solver = "newton-cholesky"
