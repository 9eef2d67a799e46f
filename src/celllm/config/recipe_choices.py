"""Which of a recipe's keys do something, which of those are our choice, and which values are doubtful."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from celllm.config.overlays import dotted
from celllm.config.recipe import Recipe

_OF_GRAPHMAE: Final = ("epochs", "hidden", "feature_width", "mask_rate", "alpha", "learning_rate")
_USES_GRAPHMAE: Final = ("graphmae", "corpus_network")
_FEATURES_A_NUMBER: Final = 4
"""Random features of FAVOR+ for each number of a head, below which its noise is as large as its signal."""
_USED_BY_VIEWS: Final = {
    "view_share": ("mask", "subset", "thinning_subset"),
    "view_disjoint": ("subset", "thinning_subset"),
    "view_min_depth": ("thinning", "thinning_subset"),
}
"""Kinds of `views` that look at a key."""


def _is_idle_in_genes(recipe: Recipe, key: str) -> bool:
    section, _, name = key.partition(".")
    method = recipe.genes.method
    if section != "genes" or name == "method":
        return False
    return method == "imported" or (name in _OF_GRAPHMAE and method not in _USES_GRAPHMAE)


def _is_idle_in_attention(recipe: Recipe, key: str) -> bool:
    attention = recipe.encoder.attention
    if key in ("encoder.heads", "encoder.head_width", "encoder.cls"):
        return attention == "none"
    return key in ("encoder.n_features", "training.redraw_every") and attention in ("softmax", "none")


def _is_idle_in_loss(recipe: Recipe, key: str) -> bool:
    section, _, name = key.partition(".")
    if section != "objectives":
        return False
    loss, _, of_loss = name.partition(".")
    if not of_loss:  # shared_masked_view
        return recipe.objectives.contrastive.weight == 0
    if of_loss != "weight" and getattr(recipe.objectives, loss).weight == 0:
        return True
    contrastive = recipe.objectives.contrastive
    return of_loss.startswith("view_") and contrastive.views not in _USED_BY_VIEWS[of_loss]


def _is_idle_without_steps(recipe: Recipe, key: str) -> bool:
    is_about_steps = key.startswith(("objectives.", "optimiser.", "training.")) and key != "training.steps"
    return is_about_steps and recipe.training.steps == 0


_IDLE: Final[tuple[Callable[[Recipe, str], bool], ...]] = (
    _is_idle_in_genes,
    _is_idle_in_attention,
    _is_idle_in_loss,
    _is_idle_without_steps,
    lambda recipe, key: key == "tokens.panel_size" and recipe.tokens.layout != "full",
    lambda recipe, key: key == "tokens.embed_length" and recipe.tokens.layout == "full",
    lambda recipe, key: key == "optimiser.gene_learning_rate" and not recipe.genes.is_trained,
    lambda recipe, key: key == "tokens.truncation" and recipe.tokens.layout == "full",
    lambda recipe, key: key == "optimiser.warmup_fraction" and recipe.optimiser.schedule != "cosine",
    lambda recipe, key: key.startswith("optimiser.restarts.") and recipe.optimiser.schedule != "cosine_restarts",
    lambda recipe, key: key in ("training.validate_every", "training.select") and recipe.training.validation_cells == 0,
)


def idle(recipe: Recipe) -> frozenset[str]:
    """Return the dotted keys that do nothing, because another key switches off what they are about."""
    return frozenset(key for key in dotted(recipe.model_dump()) if any(rule(recipe, key) for rule in _IDLE))


def in_force(recipe: Recipe) -> list[str]:
    """Return the keys of `our_choices` that do something, in the order in which a recipe's keys are declared."""
    without_effect = idle(recipe)
    marked = set(recipe.our_choices)
    return [key for key in dotted(recipe.model_dump()) if key in marked and key not in without_effect]


def doubts(recipe: Recipe) -> list[str]:
    """Return what is allowed and yet known to go wrong, a sentence each."""
    found, encoder = [], recipe.encoder
    n_features = encoder.features_a_head
    if encoder.attention == "favor" and n_features < _FEATURES_A_NUMBER * encoder.head_width:
        found.append(
            f"encoder.n_features: {n_features} random features for heads of width {encoder.head_width} are fewer than "
            f"{_FEATURES_A_NUMBER} a number, and noise as large as the signal; raise n_features, or take attention "
            "softmax"
        )
    return found
