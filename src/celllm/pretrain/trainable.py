"""What a recipe may say and still be trained from."""

from __future__ import annotations

from celllm.base.errors import InputError
from celllm.config.recipe import Recipe


def check_trainable(recipe: Recipe) -> None:
    """Refuse attention `released`: with it a cell's embedding depends on its companions, so no step can be divided.

    Raises
    ------
    InputError
        For that attention.
    """
    if recipe.encoder.attention == "released":
        raise InputError(
            file="recipe",
            field="encoder.attention",
            expected="favor or softmax",
            found="released",
            remedy="train with favor; released is for checkpoints of the authors' code",
        )
