"""The conda environments hold what their stages import, at the versions of the lock.

Building them needs conda and its channels; what can go wrong without building is checked here.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from celllm.config import tables

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
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
# Needed without an import of ours: Markdown of pandas, the demo's cells, progress bars of others, SMILES of PyG,
# curves of torch.utils.tensorboard.
INDIRECT = {"tabulate", "scanpy", "tqdm", "rdkit", "tensorboard"}
# Never imported at run time: stubs for the type checker; h5py comes with anndata.
NOT_ASKED = {"_typeshed", "h5py"}


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower(): version for name, version in pairs}


def pins(environment: Path) -> dict[str, str]:
    dependencies = yaml.safe_load(environment.read_text())["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    return dict(entry.split("==") for entry in pip)


def environments_of_commands() -> list[tuple[str, str]]:
    """(command module, environment) of every rule."""
    found = []
    for path in RULE_FILES:
        for block in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            command = re.search(r"python -m celllm (\w+)", block)
            environment = re.search(r"envs/(\w+)\.yaml", block)
            assert command is not None
            assert environment is not None
            (path_of,) = (SOURCE / "celllm").glob(f"*/commands/{command.group(1)}.py")
            found.append((f"celllm.{path_of.parts[-3]}.commands.{path_of.stem}", environment.group(1)))
    return found


def packages_of(command: str) -> set[str]:
    """Third-party packages that a command imports; `fit` also imports what config/methods.tsv names."""
    seen: set[str] = set()
    packages = third_party(command, seen)
    if command == "celllm.bench.commands.fit":
        for method in tables.read_methods(ROOT / "config/methods.tsv"):
            packages |= third_party(method.module.partition(":")[0], seen)
    return packages


def third_party(module: str, seen: set[str]) -> set[str]:
    """Third-party packages that a module of ours imports, itself or through others of ours."""
    if module in seen:
        return set()
    seen.add(module)
    path = SOURCE / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.is_file():
        return set()
    packages: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "celllm":
                packages |= third_party(name, seen)
            else:
                packages.add(name.split(".")[0])
    return packages - set(sys.stdlib_module_names)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_versions_are_those_of_the_lock(environment):
    locked = lock()
    assert pins(environment) == {name: locked[name] for name in pins(environment)}


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_holds_third_party_packages_only(environment):
    assert "celllm" not in environment.read_text().replace("src/celllm", "")


@pytest.mark.parametrize(("command", "environment"), environments_of_commands())
def test_every_import_of_a_command_is_in_its_environment(command, environment):
    offered = {IMPORTED_AS.get(name, name) for name in pins(ROOT / "envs" / f"{environment}.yaml")}
    missing = packages_of(command) - offered - NOT_ASKED
    assert not missing, f"{command} imports {missing}, which envs/{environment}.yaml lacks"


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_every_package_of_an_environment_is_imported_by_a_command_that_runs_in_it(environment):
    used: set[str] = set()
    for command, name in environments_of_commands():
        if name == environment.stem:
            used |= packages_of(command)
    superfluous = {name for name in pins(environment) if IMPORTED_AS.get(name, name) not in used} - INDIRECT
    assert not superfluous, f"envs/{environment.stem}.yaml holds {superfluous}, which nothing in it imports"


def test_every_direct_dependency_is_locked_and_has_its_reason():
    for line in (ROOT / "requirements.in").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, reason = line.partition(" # ")
        assert reason, f"{name} has no reason"
        assert re.split("[=<>]", name)[0].lower() in lock()
