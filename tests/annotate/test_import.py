"""`import celllm` costs nothing; a public call brings what it needs."""

import subprocess
import sys
from pathlib import Path

import celllm

ROOT = Path(__file__).resolve().parents[2]


def printed(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
    )
    return done.stdout.strip()


def test_the_package_is_imported_alone():
    heavy = "torch", "anndata", "numpy", "pandas", "sklearn", "cyclopts", "pydantic"
    assert printed(f"import celllm, sys; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_the_command_line_is_ready_without_torch():
    code = "import celllm.__main__, sys; print([n for n in ('torch', 'sklearn', 'anndata') if n in sys.modules])"
    assert printed(code) == "[]"


def test_the_version_is_told():
    code = "import sys; sys.argv = ['celllm', '--version']; from celllm.__main__ import main; main()"
    assert printed(code) == celllm.__version__


def test_a_public_call_stays_one_when_its_room_is_imported():
    code = "import celllm; celllm.annotate; import celllm.annotate.embed; "
    assert printed(code + "print(all(callable(getattr(celllm, name)) for name in celllm.CALLS))") == "True"
