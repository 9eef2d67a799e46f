"""Everything that `celllm plan` says of a run, in one object: computed, and where a device was timed, calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from celllm.base.errors import InputError
from celllm.config.recipe import Recipe
from celllm.pretrain.calibrate import Calibration
from celllm.pretrain.footprint import Layout, footprint
from celllm.pretrain.gpus import Gpu
from celllm.pretrain.hours import EFFICIENCY, NETWORK_GBIT_S, Parallel, as_calibrated, on_gpu, parallel
from celllm.pretrain.operations import Work, loss_work
from celllm.pretrain.plan import (
    Batches,
    Cells,
    Disk,
    Memory,
    Parameters,
    Tokens,
    budgets_of,
    disk_of,
    largest_budget,
    mean_work,
    memory_of,
    parameters_of,
    tokens_of,
)


@dataclass(frozen=True)
class Outlook:
    """What a run will take.

    Parameters
    ----------
    n_cells, n_genes, epochs
        The corpus, and how often it is gone through.
    encoder, trained
        Numbers of the encoder alone, and of all that pretraining trains.
    tokens
        Of a cell.
    work
        Operations of a step on one device.
    loss_work
        Of them, those of InfoNCE.
    memory
        On a GPU, by budget; on the device that was timed, if there is one and it is a CPU, in `memory_cpu`.
    largest_budgets
        Tokens of the largest chunk that fits, by GPU.
    hours
        By GPU, then by count.
    calibration, calibrated
        What was timed on the device at hand, and the run on it; None: nothing.
    """

    n_cells: int
    n_genes: int
    epochs: float
    encoder: Parameters
    trained: Parameters
    tokens: Tokens
    work: Work
    loss_work: Work
    token_bytes: float
    token_traffic_bytes: float
    memory: list[Memory]
    memory_cpu: list[Memory]
    largest_budgets: dict[str, int]
    hours: dict[str, list[Parallel]]
    efficiency: float
    network_gbit_s: float
    disk: Disk
    calibration: Calibration | None
    calibrated: Parallel | None


def outlook(
    recipe: Recipe,
    cells: Cells,
    batches: Batches,
    *,
    gpus: Mapping[str, Gpu],
    counts: Sequence[int],
    efficiency: float = EFFICIENCY,
    network_gbit_s: float = NETWORK_GBIT_S,
    calibration: Calibration | None = None,
) -> Outlook:
    """Compute what a run will take.

    Parameters
    ----------
    recipe, cells, batches
        What is trained on what, and batches of it.
    gpus
        By name.
    counts
        Of GPUs.
    efficiency
        Share of each peak of a GPU that is reached, above 0.
    network_gbit_s
        Between machines.
    calibration
        Of the device at hand; None: nothing was timed.

    Raises
    ------
    InputError
        If there are more GPUs than cells in a batch, or none.
    """
    for n in counts:
        if not 1 <= n <= recipe.training.batch_cells:
            raise InputError(
                file="--gpus",
                field="number",
                expected=f"1 to {recipe.training.batch_cells}, the cells of a batch (training.batch_cells)",
                found=str(n),
                remedy="give each GPU a cell of every batch",
            )
    if not 0 < efficiency <= 1:
        raise InputError(
            file="--efficiency",
            field="share of a peak",
            expected="above 0, at most 1",
            found=f"{efficiency:g}",
            remedy="0.5 means that half of what the data sheet says is reached",
        )
    encoder, counted = parameters_of(recipe, cells.n_genes)
    tokens = tokens_of(recipe, cells, batches)
    of_gpu, of_cpu = footprint(recipe, "gpu"), footprint(recipe, "cpu")

    def memory(layout: Layout, budgets: Sequence[int]) -> list[Memory]:
        found = of_gpu if layout == "gpu" else of_cpu
        return [memory_of(recipe, cells, found, budget) for budget in budgets]

    budgets = budgets_of(recipe)
    on_gpus = memory("gpu", budgets)
    hours = {
        name: [
            parallel(
                recipe,
                batches,
                of_gpu,
                counted,
                on_gpu(gpu, recipe, efficiency=efficiency),
                n=n,
                gpu=gpu,
                network_gbit_s=network_gbit_s,
            )
            for n in counts
        ]
        for name, gpu in gpus.items()
    }
    calibrated = None
    if calibration is not None:
        calibrated = parallel(recipe, batches, of_cpu, counted, as_calibrated(calibration), n=1)
    is_cpu = calibration is not None and calibration.device == "cpu"
    return Outlook(
        n_cells=cells.n_cells,
        n_genes=cells.n_genes,
        epochs=recipe.training.steps * recipe.training.batch_cells / cells.n_cells,
        encoder=encoder,
        trained=counted,
        tokens=tokens,
        work=mean_work(recipe, batches),
        loss_work=loss_work(recipe.encoder, recipe.objectives, recipe.training.batch_cells),
        token_bytes=of_gpu.token_bytes,
        token_traffic_bytes=of_gpu.step_traffic,
        memory=on_gpus,
        memory_cpu=memory("cpu", budgets) if is_cpu else [],
        largest_budgets={
            name: largest_budget(on_gpus[0], of_gpu, limit_bytes=gpu.memory_gb * 1e9) for name, gpu in gpus.items()
        },
        hours=hours,
        efficiency=efficiency,
        network_gbit_s=network_gbit_s,
        disk=disk_of(recipe, cells),
        calibration=calibration,
        calibrated=calibrated,
    )
