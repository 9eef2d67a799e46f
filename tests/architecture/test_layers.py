"""The package's rooms follow the stages of the workflow, and know only what their room may know."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "celllm"
# The path of the data: a room imports its own and those before it.
ROOMS = [
    *("base", "config", "sources", "harmonise", "splits", "corpus", "model", "genes", "pretrain", "bench", "annotate"),
    *("report", "__main__"),
]
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
TORCH_ROOMS = {"model", "genes", "pretrain", "bench", "annotate"}
TORCH_MODULES = {"audits"}


def imported(path):
    """Names of all modules a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path):
    """The room a module lives in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def ids(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_room_imports_only_rooms_before_it(path):
    here = ROOMS.index(room(path))
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("celllm.") and "__version__" not in name}
    later = {other for other in rooms if ROOMS.index(other) > here}
    assert not later, f"{ids(path)} imports from {later}, which come after it"


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_torch_and_matplotlib_stay_in_their_rooms(path):
    third_party = {name.split(".")[0] for name in imported(path)}
    if "torch" in third_party:
        assert room(path) in TORCH_ROOMS or path.stem in TORCH_MODULES
    if "matplotlib" in third_party:
        assert room(path) == "report"


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_module_is_not_asking_to_be_two(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320


def test_importing_the_package_imports_nothing_else():
    assert {name.split(".")[0] for name in imported(PACKAGE / "__init__.py")} <= set(sys.stdlib_module_names)


def test_a_dataset_is_named_in_tables_only():
    names = [line.split("\t")[0] for line in (ROOT / "config/datasets.tsv").read_text().splitlines()[1:]]
    for path in MODULES:
        strings = {
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Compare)
            for node in ast.walk(node)
            if isinstance(node, ast.Constant)
        }
        found = strings & set(names)
        assert not found, f"{ids(path)} compares with {found}"
