"""Where a run stands: safetensors files with weights and optimiser, and JSON for the rest in their headers.

The random features are buffers of the encoder and so among its weights. There is no state of random generators:
all randomness of a step is derived from the seed and the step's number (see `celllm.model.randomness`).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from celllm.base.atomic import clear, writing
from celllm.base.errors import CellLMError, InputError

FORMAT = "celllm-checkpoint-2"
BEST = "best.safetensors"


class CheckpointError(CellLMError, OSError):
    """A checkpoint could not be written; those that stood before still stand."""


@dataclass(frozen=True)
class RunIdentity:
    """What must be equal for one run to go on from another's checkpoint: digests, the seed and the version."""

    recipe: str
    vocabulary: str
    shards: str
    genes: str
    seed: int
    stage: str
    probe: str = ""
    """Of the labelled cells by which the checkpoint is chosen; "" where it is not."""


@dataclass
class Progress:
    """How far a run is, in optimiser steps done."""

    step: int
    sampler: dict[str, Any]
    chunk_tokens: int
    """Tokens encoded at once: the recipe's, or what memory allowed."""
    ranks: int = 1
    """Processes that shared the last step."""
    history: list[dict[str, float | int | None]] = field(default_factory=list)
    pending: list[dict[str, float | None]] = field(default_factory=list)
    """Figures of the steps since the last row of the history."""
    best: dict[str, float] = field(default_factory=dict)
    """`step` and `loss` of the least loss: of the validation cells, or with `select: probe` 1 - score of the probe;
    empty: none was looked at."""


class Checkpoints:
    """The checkpoints of a run in its folder: the last few, one file a step, and the best.

    A file gets its name when it is whole and on the disk, and older ones go only then. So a process that is killed at
    any moment leaves at least the checkpoint before. `keep_last` are kept besides the best.
    """

    def __init__(self, folder: Path, identity: RunIdentity, *, keep_last: int) -> None:
        self.folder, self.identity, self.keep_last = folder, identity, keep_last

    def steps(self) -> list[int]:
        """Return the steps that have a file, latest first; nothing is said about what is in it."""
        found = [int(path.stem.removeprefix("step")) for path in self.folder.glob("step*.safetensors")]
        return sorted(found, reverse=True)

    def path(self, step: int) -> Path:
        """Return the file of a step."""
        return self.folder / f"step{step:08d}.safetensors"

    def save(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        progress: Progress,
        *,
        is_best: bool = False,
    ) -> None:
        """Write the checkpoint of a step, with a copy if it is the best so far, then remove those that are too old.

        CheckpointError if the disk is full or another failure stops it; nothing half-written is left.
        """
        tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in state.items()}
        header = {
            "format": FORMAT,
            "identity": json.dumps(asdict(self.identity)),
            "progress": json.dumps(asdict(progress)),
        }
        # a copy each: safetensors refuses tensors that share memory
        tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        path = self.path(progress.step)
        first = self.folder / BEST if is_best else path  # else a run killed in between would never make it again
        try:
            with writing(first) as part:
                save_file(tensors, str(part), metadata=header)
                _to_disk(part)
            if is_best:
                with writing(path) as part:
                    shutil.copyfile(first, part)
                    _to_disk(part)
        except (OSError, SafetensorError, InputError) as error:
            raise self._not_written(path, error) from error
        for step in self.steps()[self.keep_last :]:
            self.path(step).unlink()

    def load(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> Progress | None:
        """Fill module and optimiser from the last whole checkpoint; None, and nothing touched, if there is no file.

        One that cannot be read, as a failing disk leaves it, is named on stderr, and the one before it is taken.
        InputError if none is readable, or the last one belongs to another run.
        """
        clear(self.folder)
        broken: list[InputError] = []
        for step in self.steps():
            try:
                header, tensors = _read(self.path(step))
            except InputError as error:
                broken.append(error)
                continue
            if broken:
                sys.stderr.write(f"warning: {broken[0]}\n  going on from step {step} instead\n")
            self._refuse_another_run(self.path(step), json.loads(header["identity"]))
            _fill(module, optimiser, tensors)
            return Progress(**json.loads(header["progress"]))
        if broken:
            raise broken[0]
        return None

    def load_best(self, module: nn.Module) -> None:
        """Fill the module from the best checkpoint; InputError if it is not readable, or belongs to another run."""
        header, tensors = _read(self.folder / BEST)
        self._refuse_another_run(self.folder / BEST, json.loads(header["identity"]))
        _fill(module, None, tensors)

    def _refuse_another_run(self, path: Path, found: Mapping[str, Any]) -> None:
        for name, expected in asdict(self.identity).items():
            if found.get(name, "") != expected:
                raise InputError(
                    file=path,
                    field=name,
                    expected=f"{_short(expected)}, as in this run",
                    found=_short(found.get(name, "")),
                    remedy=f"to start anew remove the folder: rm -r {self.folder}; or go back to what it was made with",
                )

    def _not_written(self, path: Path, error: Exception) -> CheckpointError:
        steps = self.steps()
        last = f"the checkpoint of step {steps[0]} is whole" if steps else "there is no earlier checkpoint"
        return CheckpointError(
            f"{path}: could not be written ({error}); {last}\n"
            f"  do this:  make room on the disk (df -h {self.folder}), then call the same command again"
        )


def _to_disk(path: Path) -> None:
    """Wait until a file's content is on the disk and not in the system's memory alone."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _fill(module: nn.Module, optimiser: torch.optim.Optimizer | None, tensors: Mapping[str, Tensor]) -> None:
    prefix = "module."
    module.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    if optimiser is None:
        return
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            states.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    found = "no safetensors file"
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            found = header.get("format", "no format in the header")
            if found == FORMAT:
                return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        found = f"no safetensors file ({error})"
    raise InputError(
        file=path,
        field="format",
        expected=FORMAT,
        found=found,
        remedy=f"remove it, and pretraining goes on from an earlier one or starts anew: rm {path}",
    )


def _short(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 12 else str(value)
