"""Every rule has what the house asks of a rule; every table row names what exists."""

import json
import re
from pathlib import Path

import pytest
import yaml

from celllm.__main__ import app

ROOT = Path(__file__).resolve().parents[2]
RULES = [
    (match.group(1), match.group(2))
    for path in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for match in re.finditer(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), flags=re.MULTILINE | re.DOTALL)
]
COMMANDS = {path.stem for path in (ROOT / "src/celllm").glob("*/commands/*.py")} - {"__init__"} | {
    name
    for path in (ROOT / "src/celllm").glob("*/commands.py")
    for name in re.findall(r"^@app\.command.*\ndef (\w+)\(", path.read_text(), flags=re.MULTILINE)
}
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]


@pytest.mark.parametrize(("name", "body"), RULES, ids=[name for name, _ in RULES])
def test_a_rule_has_a_docstring_a_log_a_benchmark_an_environment_and_a_command_of_its_name(name, body):
    assert body.lstrip().startswith('"""')
    assert f'"logs/{name}/' in body
    assert f'"benchmarks/{name}/' in body
    assert re.search(r"conda:\s+\"../../envs/\w+\.yaml\"", body)
    assert f"python -m celllm {name}" in body
    assert name in COMMANDS
    assert "&> {log:q}" in body


def test_every_command_is_some_rules_or_for_people():
    assert COMMANDS - {
        "import",
        "import_encoder",
        "sources",
        "plan",
        "plan_bench",
        "look",
        "embed",
        "annotate",
        "adapt",
    } == {name for name, _ in RULES}


@pytest.mark.parametrize("name", [name for name in app if not name.startswith("-")])
def test_a_command_explains_itself(name, capsys):
    app.help_print([name])
    said = capsys.readouterr().out
    assert f"Usage: celllm {name}" in said
    assert "Example:" in said
    options = app[name].assemble_argument_collection(parse_docstring=True)
    assert [one.names for one in options if not one.parameter.help and one.names != ("*",)] == []


def test_a_job_computes_on_a_gpu_only_if_the_configuration_says_so():
    source = ROOT / "src/celllm"
    asking = [path for path in source.rglob("*.py") if "cuda.is_available" in path.read_text()]
    assert asking == [source / "model/device.py"]
    chosen = {
        name
        for path in source.glob("*/commands.py")
        for name, signature in re.findall(
            r"^def (\w+)\(\n(.*?)^\) -> None:", path.read_text(), re.MULTILINE | re.DOTALL
        )
        if "accelerator:" in signature
    }
    assert chosen == {name for name, body in RULES if '" --accelerator {params.accelerator}"' in body}
    assert 'ACCELERATOR = "auto" if GPUS else "cpu"' in (ROOT / "workflow/rules/tables.smk").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "config/recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_opens_with_its_source(path):
    assert path.read_text().startswith("# ")


def test_every_configuration_key_is_described():
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert [key for key, rule in schema["properties"].items() if not rule["description"]] == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_configuration_holds_every_key(path):
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert set(yaml.safe_load(path.read_text())) >= set(schema["required"]) - {"mirror"}


@pytest.mark.parametrize("name", ["default", "slurm"])
def test_a_profile_parses_and_says_what_each_entry_is_for(name):
    text = (ROOT / "profiles" / name / "profile.yaml").read_text()
    assert yaml.safe_load(text)
    for line in text.splitlines():
        if re.match(r"^[a-z-]+: \S", line):
            assert " # " in line, line


def test_the_picture_of_the_rule_graph_shows_every_rule_of_a_whole_run_and_no_other():
    picture = (ROOT / "docs/rulegraph.svg").read_text()
    shown = set(re.findall(r"<text[^>]*>(\w+)</text>", picture)) - {"all"}
    assert shown == {name for name, _ in RULES} - {"package_encoder"}  # run by its own target
