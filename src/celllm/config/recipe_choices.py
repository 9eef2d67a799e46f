"""Which of a recipe's keys do something, and which of those are our choice: what the report lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from celllm.config.overlays import dotted
from celllm.config.recipe import Recipe

_USED_BY_METHOD: Final = {
    "graphmae": ("epochs", "hidden", "feature_width", "mask_rate", "alpha", "learning_rate"),
    **dict.fromkeys(("svd", "random", "learned", "imported", "gene2vec"), ()),
}
"""Keys of `genes` that a method looks at, besides itself."""
_USED_BY_VIEWS: Final = {
    "view_share": ("mask", "subset", "thinning_subset"),
    "view_disjoint": ("subset", "thinning_subset"),
    "view_min_depth": ("thinning", "thinning_subset"),
}
"""Kinds of `views` that look at a key."""


def _is_idle_in_genes(recipe: Recipe, key: str) -> bool:
    section, _, name = key.partition(".")
    method = recipe.genes.method
    return section == "genes" and name != "method" and name not in _USED_BY_METHOD.get(method, (name,))


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
    _is_idle_in_loss,
    _is_idle_without_steps,
    lambda recipe, key: key == "tokens.panel_size" and recipe.tokens.layout != "full",
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
