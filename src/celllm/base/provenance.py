"""What made a file: version, commit, stage, command line and the digests of its inputs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from celllm import __version__


def digest(path: Path | str) -> str:
    """Return the sha256 of a file's bytes, in hex, read in pieces of 1 MiB."""
    sha = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            sha.update(piece)
    return sha.hexdigest()


def digest_of(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the sha256 of a JSON value in canonical form (sorted keys, no blanks), in hex."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def module_digest(name: str) -> str | None:
    """Return the digest of the file of one of this package's modules; None of others, whose versions are pinned."""
    try:
        spec = importlib.util.find_spec(name) if name.startswith("celllm.") else None
    except ModuleNotFoundError:
        return None
    return digest(spec.origin) if spec is not None and spec.origin is not None else None


@lru_cache(maxsize=1)
def commit() -> str:
    """Return the commit the package was run from, `+changes` behind it if files differ, or `unknown`.

    A repository around the checkout, into which it was unpacked, is not the package's own.
    """
    here = Path(__file__).resolve().parents[1]
    try:
        if Path(_git("rev-parse", "--show-toplevel", folder=here)).resolve() != here.parents[1]:
            return "unknown"
        head = _git("rev-parse", "--short=12", "HEAD", folder=here)
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", folder=here)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def stamp(stage: str, inputs: Mapping[str, Path | str] | None = None, **extra: Any) -> dict[str, Any]:  # noqa: ANN401
    """Describe the present command as JSON-able values, to be written into the file it makes.

    `stage` has its behaviour version, as in `pretrain-1`; files of `inputs` are replaced by their sha256.
    """
    return {
        "celllm": __version__,
        "commit": commit(),
        "stage": stage,
        "command": sys.argv[1]
        if Path(sys.argv[0]).stem == "__main__" and len(sys.argv) > 1
        else Path(sys.argv[0]).stem,
        "inputs": {role: digest(path) for role, path in (inputs or {}).items()},
        **extra,
    }
