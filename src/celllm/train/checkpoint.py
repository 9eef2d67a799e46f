"""Where a run stands: one safetensors file with weights and optimiser, and JSON for the rest in its header.

The random features are buffers of the encoder and so among its weights. There is no state of random generators:
all randomness of a step is derived from the seed and the step's number (see `celllm.train.randomness`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from celllm.contracts.atomic import writing
from celllm.errors import InputError

FORMAT = "celllm-checkpoint-1"
FILE_NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class RunIdentity:
    """What must be equal for one run to go on from another's checkpoint: digests, the seed and the version."""

    recipe: str
    vocabulary: str
    shards: str
    genes: str
    seed: int
    stage: str


@dataclass
class Progress:
    """How far a run is.

    Parameters
    ----------
    step
        Optimiser steps done.
    sampler
        State of the sampler of cells.
    history
        Rows of the history so far.
    pending
        Figures of the steps since the last of these rows.
    """

    step: int
    sampler: dict[str, Any]
    history: list[dict[str, float | int | None]]
    pending: list[dict[str, float | None]]


def save(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    identity: RunIdentity,
    progress: Progress,
) -> None:
    """Write the checkpoint, which replaces an older one once it is whole."""
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in state.items()}
    header = {
        "format": FORMAT,
        "identity": json.dumps(asdict(identity)),
        "progress": json.dumps(asdict(progress)),
    }
    # a copy each: safetensors refuses tensors that share memory
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    with writing(folder / FILE_NAME) as part:
        save_file(tensors, str(part), metadata=header)


def load(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    identity: RunIdentity,
) -> Progress | None:
    """Fill module and optimiser from the folder's checkpoint; None, and nothing touched, where there is none.

    Raises
    ------
    InputError
        If the checkpoint is not readable, or belongs to another recipe, vocabulary, corpus, gene table, seed or
        version of the stage.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    header, tensors = _read(path)
    found = json.loads(header["identity"])
    for name, expected in asdict(identity).items():
        if found[name] != expected:
            raise InputError(
                file=path,
                field=name,
                expected=f"{_short(expected)}, as in this run",
                found=_short(found[name]),
                remedy=f"to start anew remove the folder: rm -r {folder}; or go back to what it was made with",
            )
    prefix = "module."
    module.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            states.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
    return Progress(**json.loads(header["progress"]))


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    found = "no safetensors file"
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            found = header.get("format", "no format in the header")
            if found == FORMAT:
                return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        found = f"no safetensors file ({error})"
    raise InputError(
        file=path,
        field="format",
        expected=FORMAT,
        found=found,
        remedy=f"remove it, and pretraining starts anew: rm {path}",
    )


def _short(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 12 else str(value)
