"""What the benchmarks take from the package is there: nobody runs them every day."""

import ast
import importlib

import pytest
from tests.architecture.test_layers import ROOT

IMPORTS = [
    (file.name, node.module, name.name)
    for file in sorted((ROOT / "perf").glob("*.py"))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("celllm")
    for name in node.names
]


@pytest.mark.parametrize(("script", "module", "name"), IMPORTS)
def test_a_benchmark_finds_what_it_imports(script, module, name):
    found = importlib.import_module(module)
    assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), f"perf/{script}"
