"""Fixtures shared by all tests: a folder of real data where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The mirror folder of real data that CELLLM_MIRROR names; skips where there is none."""
    named = os.environ.get("CELLLM_MIRROR")
    if named is None or not (Path(named) / "README.md").is_file():
        pytest.skip(f"no mirror of real data at {named}; set CELLLM_MIRROR")
    return Path(named).resolve()


@pytest.fixture
def generator() -> np.random.Generator:
    """A seeded generator, new for each test."""
    return np.random.default_rng(0)
