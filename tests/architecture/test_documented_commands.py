"""Every command line that README and docs show can be typed: `celllm` is parsed, `snakemake` and `make` run dry.

Lines come from fenced blocks of shell, from inline code, and from the examples at the end of each command's help.
What is no command as it stands, says so: `…` or `...` (and so on), `/path/to/…` (a folder of the reader's), and words
that a page declares to be placeholders, in a comment such as `<!-- placeholders: my_method wide -->`.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from snakemake import cli

from celllm.__main__ import app

ROOT = Path(__file__).resolve().parents[2]
# docs/log.md and docs/decisions/ are left out: they tell what was typed at the time.
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "log.md"),
]
SHELL = {"", "bash", "sh", "console"}
OTHER_TOOLS = {"cd", "conda", "cut", "export", "git", "grep", "pip", "rm", "sbatch", "source", "tail", "tensorboard"}
ELLIPSES = ("…", "...")
# Of Snakemake's options those with which a run dry makes no sense.
NOT_DRY = {"--report", "--lint", "--summary", "--delete-all-output"}
# What Snakemake asks of conda before a dry run. .ci/conda makes environments and runs jobs in them.
CONDA = """#!/bin/sh
case "$1" in
  config) echo '{"get": {"channel_priority": "strict"}}' ;;
  *) echo '{"conda_prefix": "/conda", "platform": "linux-64", "conda_version": "24.7.1"}' ;;
esac
"""
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONWARNINGS": "ignore",
}
COMMANDS = [name for name in app if not name.startswith("-")]


@functools.cache
def options_of(command):
    collected = app[command].assemble_argument_collection()
    return set(itertools.chain.from_iterable(argument.names for argument in collected)) | {"--traceback", "--help"}


@dataclass(frozen=True)
class Line:
    """A command as a page shows it, one pipe or list of a shell taken apart."""

    page: str
    words: tuple[str, ...]
    is_inline: bool = False
    is_template: bool = False  # it has a word that its page declares to be a placeholder

    def __str__(self):
        return f"{self.page}: {shlex.join(self.words)[:100]}"

    @property
    def is_whole(self):
        """Whether nothing has to be put in or added before it can be typed."""
        return not self.is_template and not any(mark in " ".join(self.words) for mark in ELLIPSES)

    @property
    def tool(self):
        """What is called: celllm, snakemake, make, perf, option (one of celllm or perf) or another program."""
        if "-m" in self.words and self.words[self.words.index("-m") + 1].startswith("celllm"):
            return "celllm"
        if self.words[:1] == ("python",) and self.words[1].startswith("perf/"):
            return "perf"
        if self.words[0].startswith("--"):
            name = self.words[0].partition("=")[0]
            is_ours = any(name in options_of(command) for command in COMMANDS)
            is_ours |= any(f'"{name}"' in path.read_text() for path in (ROOT / "perf").glob("*.py"))
            return "option" if is_ours else "snakemake"
        return self.words[0]

    @property
    def arguments(self):
        """Words behind the program, with `…` left out."""
        start = self.words.index("celllm") if self.tool == "celllm" else 0
        return [word for word in self.words[start + 1 :] if word not in ELLIPSES]


def logical_lines(text):
    """Lines of a shell, continued where a backslash or an open quote says so."""
    lines: list[str] = []
    pending = ""
    for line in text.replace("\\\n", " ").splitlines():
        pending += f"\n{line}" if pending else line
        try:
            shlex.split(pending, comments=True)
        except ValueError:  # an open quote
            continue
        lines.append(pending)
        pending = ""
    assert not pending, f"an open quote: {pending}"
    return lines


def simple_commands(line):
    """Words of each program that a line calls, without comments, redirections and the words of loops."""
    line = re.sub(r"\w+\(\) \{.*\}", "", line)  # the definition of a function
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&<>")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";|&"):
            commands.append([])
        else:
            commands[-1].append(word)
    found = []
    for words in commands:
        while words and (words[0] in ("do", "done", "then") or re.fullmatch(r"[A-Z_]+=.*", words[0])):
            words = words[1:]
        end = next((place for place, word in enumerate(words) if set(word) <= set("<>")), len(words))
        if words[:end] and words[0] not in ("while", "for"):
            found.append(tuple(words[:end]))
    return found


def lines_of(text, page, *, is_inline=False, placeholders=()):
    return [
        Line(page, words, is_inline, any(mark in " ".join(words) for mark in placeholders))
        for line in logical_lines(text)
        for words in simple_commands(line)
    ]


def lines_of_page(path):
    text, page = path.read_text(), str(path.relative_to(ROOT))
    words = [declared.split() for declared in re.findall(r"<!-- placeholders: (.*?) -->", text)]
    placeholders = tuple(itertools.chain.from_iterable(words))
    found = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        is_shell = re.search(r"^(?:\$ )?(celllm|snakemake|make|python|conda)\b", block, flags=re.MULTILINE)
        if language in SHELL and is_shell:
            found += lines_of(re.sub(r"^\$ ", "", block, flags=re.MULTILINE), page, placeholders=placeholders)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = r"`((?:(?:celllm|snakemake|make|torchrun|python -m celllm|python perf/\w+\.py) |--\w)[^`]*)`"
    for code in re.findall(inline, prose):
        found += lines_of(code.replace("\n", " "), page, is_inline=True, placeholders=placeholders)
    return found


def examples():
    """The end of each command's docstring."""
    found = []
    for path in sorted((ROOT / "src/celllm").glob("*/commands.py")):
        for node in ast.parse(path.read_text()).body:
            docstring = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            _, is_there, block = (docstring or "").partition("Example::\n")
            if is_there:
                found += lines_of(block, f"{path.parent.name}/commands.py")
    return found


LINES = list(dict.fromkeys([*itertools.chain.from_iterable(map(lines_of_page, PAGES)), *examples()]))


def of_tool(*tools):
    return pytest.mark.parametrize("line", [line for line in LINES if line.tool in tools], ids=str)


@functools.cache
def snakemake_parser():
    return cli.get_argument_parser()


def parse_snakemake(arguments):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            return snakemake_parser().parse_args(arguments)
        except SystemExit:
            pytest.fail(said.getvalue())


def test_lines_of_every_kind_are_found():
    assert {"celllm", "snakemake", "make"} <= {line.tool for line in LINES}
    assert any(line.page == "README.md" for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_documented_line_calls_a_known_program_and_names_files_that_are_there(line):
    assert line.tool in {"celllm", "snakemake", "make", "perf", "option", "torchrun", *OTHER_TOOLS}
    for word in line.words:
        if re.match(r"(config|envs|perf|profiles|tests)/[\w./-]+$", word) and line.is_whole:
            assert (ROOT / word).exists(), word


@of_tool("celllm")
def test_a_documented_line_of_celllm_is_parsed(line):
    command, *arguments = line.arguments
    assert command in app, f"no command {command}"
    if not line.is_whole or (line.is_inline and not arguments):
        given = {word.partition("=")[0] for word in arguments if word.startswith("--")}
        assert given <= options_of(command)
    elif "--help" not in arguments:
        app.parse_args([command, *arguments], exit_on_error=False, print_error=False)


@pytest.mark.slow
@of_tool("snakemake")
def test_a_documented_line_of_snakemake_runs_dry(line, tmp_path):
    (tmp_path / "mirror").mkdir()
    words = [word for word in line.words if word not in ELLIPSES]
    arguments = [re.sub(r"/path/to/\w+|…", str(tmp_path / "mirror"), word) for word in words]
    if arguments[0] == "snakemake":
        del arguments[0]
    asks_gres = "gres=" in str(arguments)
    if asks_gres and "--config" not in arguments:
        arguments += ["--config", "accelerator=gpu"]
    asked = parse_snakemake(arguments)
    profile = yaml.safe_load((ROOT / (asked.workflow_profile or "profiles/default") / "profile.yaml").read_text())
    if line.words[0] == "snakemake" and line.is_whole and not (NOT_DRY | {"-n", "--dry-run"}) & set(arguments):
        assert asked.cores or "jobs" in profile, "neither --cores nor a profile with jobs"
    if line.is_template or NOT_DRY & set(arguments):
        return
    if not asks_gres:
        arguments += ["--quiet", "all"]
    conda = tmp_path / "conda"
    conda.write_text(CONDA)
    conda.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--dry-run", "--directory", str(tmp_path)],
        cwd=ROOT,
        env={**ENVIRONMENT, "PATH": f"{tmp_path}{os.pathsep}{ENVIRONMENT['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    for resources in re.findall(r"^ +resources: (.*)", done.stdout + done.stderr, flags=re.MULTILINE):
        is_double = "gres=gpu" in resources and re.search(r"\bgpu=[1-9]", resources)
        assert not is_double, f"SLURM would be asked for GPUs twice: {resources}"


@of_tool("make")
def test_a_documented_line_of_make_runs_dry(line):
    done = subprocess.run(["make", "-n", *line.arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@of_tool("perf")
def test_a_documented_benchmark_is_there_with_its_options(line):
    script = (ROOT / line.words[1]).read_text() + (ROOT / "perf/line.py").read_text()  # where --json is
    for word in line.words[2:]:
        assert not word.startswith("--") or f'"{word}"' in script, word
