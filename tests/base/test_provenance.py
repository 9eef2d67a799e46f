"""What made a file: the commit is the package's own, or unknown."""

import shutil
import subprocess
import sys

TEXT = {"capture_output": True, "text": True, "check": True}


def commit_of(folder):
    code = "from celllm.base.provenance import commit; print(commit())"
    return subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(folder / "src")}, **TEXT).stdout.strip()


def committed(folder):
    for arguments in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", "-C", str(folder), *arguments], **TEXT)
    return subprocess.run(["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"], **TEXT).stdout.strip()


def test_the_commit_of_a_repository_around_the_checkout_is_not_ours(tmp_path, root):
    shutil.copytree(root / "src/celllm/base", tmp_path / "thesis/celllm/src/celllm/base")
    shutil.copy(root / "src/celllm/__init__.py", tmp_path / "thesis/celllm/src/celllm")
    committed(tmp_path / "thesis")
    assert commit_of(tmp_path / "thesis/celllm") == "unknown"
    (tmp_path / "thesis/.git").rename(tmp_path / "gone")
    assert commit_of(tmp_path / "thesis/celllm") == "unknown"
    own = committed(tmp_path / "thesis/celllm")
    assert commit_of(tmp_path / "thesis/celllm") == own
