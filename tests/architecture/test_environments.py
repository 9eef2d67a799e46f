"""The conda environments hold what their commands import, at the versions of the lock.

`.ci/run` builds them and runs a small chain inside them; what can be known without building is checked here.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

from celllm.report.items import ITEMS, READERS

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
RULE_FILES = sorted((ROOT / "workflow/rules").glob("*.smk"))
# Packages whose import name is not their own.
IMPORTED_AS = {
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "torch-geometric": "torch_geometric",
    "lightning-fabric": "lightning_fabric",
    "scib-metrics": "scib_metrics",
    "umap-learn": "umap",
}
# Environment that Snakemake itself runs in; the others are those of rules.
WORKFLOW = ROOT / "envs/snakemake.yaml"
# Needed without an import of ours: the demo's cells, PyG's SMILES, torch.utils.tensorboard.
INDIRECT = {"scanpy", "rdkit", "tensorboard"}
# h5py comes with anndata.
NOT_ASKED = {"h5py"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def lock():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower(): version for name, version in pairs}


def pins(environment):
    dependencies = yaml.safe_load(environment.read_text())["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    return dict(entry.split("==") for entry in pip)


def commands_in_environments():
    """(command, environment) of every rule."""
    return [
        (command, environment)
        for path in RULE_FILES
        for block in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]
        for environment in re.findall(r"envs/(\w+)\.yaml", block)
        for command in re.findall(r"python -m celllm (\w+)", block)
    ]


class Imports(ast.NodeVisitor):
    """Names of modules that code imports, in functions too, but not for type checkers alone."""

    def __init__(self):
        self.names: list[str] = []

    def visit_Import(self, node):
        self.names += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node):
        assert node.module is not None
        self.names += [f"{node.module}.{alias.name}" for alias in node.names]

    def visit_Call(self, node):
        """`import_module(f"package.{name}")` may import any module of the package."""
        if ast.unparse(node.func).endswith("import_module") and isinstance(node.args[0], ast.JoinedStr):
            parts = node.args[0].values
            self.names.append("".join(part.value if isinstance(part, ast.Constant) else "*" for part in parts))
        self.generic_visit(node)

    def visit_If(self, node):
        is_typing = ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.orelse if is_typing else [*node.body, *node.orelse]:
            self.visit(statement)


def imports_of(statements):
    visitor = Imports()
    for statement in statements:
        visitor.visit(statement)
    return visitor.names


def code_of(function, tree):
    """What runs of a module for one of its functions: its top level, the function, and those that these name."""
    functions = {node.name: node for node in tree.body if isinstance(node, FUNCTIONS)}
    reached: set[str] = set()
    new = [node for node in tree.body if not isinstance(node, FUNCTIONS) or node.name == function]
    while new:
        reached |= {node.name for node in new if isinstance(node, FUNCTIONS)}
        named = {name.id for node in new for name in ast.walk(node) if isinstance(name, ast.Name)}
        new = [functions[name] for name in named & set(functions) - reached]
    return [node for node in tree.body if not isinstance(node, FUNCTIONS) or node.name in reached]


@functools.cache
def tree_of(module, source):
    path = source / Path(*module)
    files = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return ast.parse(files[0].read_text()) if files else None


def third_party(names, source, seen):
    """Third-party packages that imports reach, through modules of ours and the packages above those.

    Of a module from which something is imported by name, a function say, only what that needs is followed.
    """
    found: set[str] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "celllm":
            found.add(parts[0])
        elif parts[-1] == "*":
            folder = parts[:-1]
            modules = [".".join([*folder, path.stem]) for path in sorted((source / Path(*folder)).glob("*.py"))]
            found |= third_party(modules, source, seen)
        elif name not in seen:
            seen.add(name)
            for depth in range(1, len(parts) + 1):  # Python runs the __init__ of every package above a module first
                tree = tree_of(tuple(parts[:depth]), source)
                if tree is not None:
                    code = tree.body if depth == len(parts) else code_of(parts[depth], tree)
                    found |= third_party(imports_of(code), source, seen)
    return found - set(sys.stdlib_module_names)


@functools.cache
def packages_of(command):
    """Third-party packages that `python -m celllm {command}` imports, by names in methods.tsv and items.py too."""
    source = ROOT / "src"
    rooms = sorted(path.parent.name for path in source.glob("celllm/*/commands.py"))
    names = ["celllm.__main__", *(f"celllm.{room}.commands.{command}" for room in rooms)]  # __main__ reads all rooms'
    named = (ROOT / "config/methods.tsv").read_text() if command == "fit" else str(ITEMS.get(command, ""))
    if command in ITEMS:
        makers = [resolve_name(name) for name in ITEMS[command].values()]
        roles = {role for make in makers for role in inspect.signature(make).parameters}
        named += str([reader for role, reader in READERS.items() if role in roles])
    names += [name.replace(":", ".") for name in re.findall(r"\b\w+(?:\.\w+)+:\w+", named)]
    return third_party(names, source, seen=set())


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_versions_are_those_of_the_lock(environment):
    locked = lock()
    assert pins(environment) == {name: locked[name] for name in pins(environment)}


def test_torch_is_installed_once():
    assert [path.stem for path in ENVIRONMENTS if "torch" in pins(path)] == ["torch"]


@pytest.mark.parametrize(("command", "environment"), sorted(set(commands_in_environments())))
def test_every_import_of_a_command_is_in_its_environment(command, environment):
    offered = {IMPORTED_AS.get(name, name) for name in pins(ROOT / "envs" / f"{environment}.yaml")}
    missing = packages_of(command) - offered - NOT_ASKED
    assert not missing, f"{command} imports {missing}, which envs/{environment}.yaml lacks"


@pytest.mark.parametrize("command", ["embed", "annotate", "adapt"])
def test_the_package_without_extras_holds_every_import_of_a_command_for_own_cells(command):
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bare = [re.split("[=<>]", name)[0] for name in asked]
    missing = packages_of(command) - {IMPORTED_AS.get(name, name) for name in bare}
    assert not missing, f"{command} imports {missing}, which pip install celllm does not bring"


def test_every_import_of_the_workflow_is_in_the_environment_of_snakemake():
    text = "\n".join(path.read_text() for path in [ROOT / "Snakefile", *RULE_FILES])
    statements = re.findall(r"^(?:from|import) [^(\n]+(?:\([^)]*\))?", text, flags=re.MULTILINE)
    packages = third_party(imports_of(ast.parse("\n".join(statements)).body), ROOT / "src", seen=set())
    assert "snakemake" in packages
    offered = {IMPORTED_AS.get(name, name) for name in pins(WORKFLOW)}
    assert packages <= offered


@pytest.mark.parametrize("environment", sorted({*ENVIRONMENTS} - {WORKFLOW}), ids=lambda path: path.stem)
def test_every_package_of_an_environment_is_imported_by_a_command_that_runs_in_it(environment):
    commands = [command for command, name in commands_in_environments() if name == environment.stem]
    used = {package for command in commands for package in packages_of(command)}
    superfluous = {name for name in pins(environment) if IMPORTED_AS.get(name, name) not in used} - INDIRECT
    assert not superfluous, f"envs/{environment.stem}.yaml holds {superfluous}, which nothing in it imports"


def test_every_dependency_is_in_the_package_or_in_one_of_its_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    offered = [*project["dependencies"], *extras["workflow"], *extras["report"]]
    names = sorted(re.split("[=<>]", name)[0] for name in offered)
    listed, _, _ = (ROOT / "requirements.in").read_text().partition("# development")
    direct = [re.split("[=<> ]", line)[0] for line in listed.splitlines() if line and not line.startswith("#")]
    assert names == sorted([*direct, "h5py"])  # which comes with anndata


def test_every_direct_dependency_is_locked_and_has_its_reason():
    for line in (ROOT / "requirements.in").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, reason = line.partition(" # ")
        assert reason, f"{name} has no reason"
        assert re.split("[=<>]", name)[0].lower() in lock()
