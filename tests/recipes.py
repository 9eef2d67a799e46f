"""A recipe of a tiny encoder, that tests change where it matters to them."""

from __future__ import annotations

from typing import Any

from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe

TINY: dict[str, dict[str, Any]] = {
    "tokens": {"max_length": 24},
    "genes": {"method": "random"},
    "encoder": {"width": 16, "depth": 2, "heads": 2, "head_width": 8},
    "training": {"batch_cells": 8, "chunk_tokens": 128, "steps": 1},
}


def tiny_values(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return its values, with some keys of some sections changed."""
    return {name: TINY.get(name, {}) | changes.get(name, {}) for name in {**TINY, **changes}}


def tiny(**changes: dict[str, Any]) -> Recipe:
    """Return the recipe, with some keys of some sections changed."""
    return recipes.parse(tiny_values(**changes), file="recipe")
