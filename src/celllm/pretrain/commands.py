"""Commands of pretraining: train an encoder, say beforehand what it takes, measure a step."""

from __future__ import annotations

import sys
from pathlib import Path

from celllm.base.app import Accelerator, Stage, Threads, VocabularyFile, commands
from celllm.base.errors import InputError
from celllm.config.recipe import RecipeOption

app = commands()
COUNTS = (1, 2, 4, 8, 16, 32, 64)
"""GPUs for which hours are shown."""


@app.command
def pretrain(
    *,
    recipe: RecipeOption,
    shards: Path,
    genes: Path,
    vocabulary: VocabularyFile,
    seed: int,
    checkpoints: Path,
    encoder: Path,
    history: Path,
    probe_cells: Path | None = None,
    probe_components: Path | None = None,
    threads: Threads = 1,
    stage: Stage = "pretrain",
    accelerator: Accelerator = "auto",
    devices: int = 1,
    nodes: int = 1,
) -> None:
    r"""Pretrain an encoder: masked genes, tumour or normal, and divide-and-conquer contrastive learning.

    An interrupted run resumes from its last checkpoint when the same command is called again. SIGTERM, SIGINT and
    SIGUSR1 end it after the step in which they come, with a checkpoint and exit status 75.

    Parameters
    ----------
    recipe
        Architecture, objectives, optimiser and training: files, each laid over the ones before, or JSON.
    shards
        Manifest of the corpus.
    genes
        Gene embedding; not used where the recipe learns it.
    seed
        Random seed of weights, order of cells, masks and dropout.
    checkpoints
        Folder to resume from and to save to, the same for all nodes; history.jsonl and tensorboard/ are in it.
    encoder
        Encoder to write, safetensors.
    history
        Figures of training to write, JSON lines.
    probe_cells
        Aligned labelled cells of no data set of the corpus, for a recipe with training.probe_every.
    probe_components
        Principal components of the corpus, which the probe is compared with.
    devices
        Processes on each node, one for each GPU.
    nodes
        Nodes, under srun with as many tasks on each as devices.

    Example::

        celllm pretrain --recipe config/recipes/paper.yaml config/recipes/small.yaml \
            --shards results/shards/manifest.json --genes results/genes/small/embedding.safetensors \
            --vocabulary results/vocabulary/genes.tsv --seed 0 --checkpoints run \
            --encoder run/encoder.safetensors --history run/history.jsonl
    """
    import torch
    from torch import distributed as dist

    from celllm.base.provenance import stamp
    from celllm.config import recipe_choices
    from celllm.genes import gene_embedding
    from celllm.harmonise import vocabulary as vocabularies
    from celllm.model.store import save_encoder
    from celllm.pretrain import history as histories
    from celllm.pretrain import launch, probe, run
    from celllm.pretrain.monitor import Files, Terminal
    from celllm.pretrain.stopping import Stopped

    for doubt in recipe_choices.doubts(recipe):
        sys.stderr.write(f"warning: {doubt}\n")
    known = vocabularies.read(vocabulary)
    corpus = launch.open_corpus(shards, known, recipe)
    table = gene_embedding.read(genes, vocabulary=known.digest)
    if table.genes_GD.shape[1] != recipe.encoder.width:
        raise InputError(
            file=genes,
            field="genes",
            expected=f"width {recipe.encoder.width}, the recipe's encoder.width",
            found=f"width {table.genes_GD.shape[1]}",
            remedy="make the gene embedding with the same recipe: snakemake --forcerun embed_genes",
        )
    probed = None
    if probe_cells is not None and probe_components is not None:
        probed = probe.read(probe_cells, probe_components, corpus=corpus, vocabulary=known)
    fabric = launch.launch(recipe.training.precision, accelerator=accelerator, devices=devices, nodes=nodes)
    torch.set_num_threads(threads)  # after the launch, which sets its own
    try:
        result = run.pretrain(
            recipe,
            corpus,
            gene_embedding=table.genes_GD,
            gene_digest=table.digest,
            seed=seed,
            fabric=fabric,
            checkpoints=checkpoints,
            probe=probed,
            stage=stage,
            monitors=[Files(checkpoints / "history.jsonl", checkpoints / "tensorboard"), Terminal()],
        )
    except Stopped:
        if fabric.is_global_zero:
            raise
        return  # a rank that ends badly would have the first one killed
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()  # its threads must not outlive the interpreter
    if not fabric.is_global_zero:
        return
    inputs = {"shards": shards, "genes": genes, "vocabulary": vocabulary}
    made_by = stamp(stage, inputs, recipe=recipe.digest, seed=seed)
    histories.write(result.history, history)
    save_encoder(
        encoder,
        result.encoder,
        recipe=recipe,
        vocabulary=known.digest,
        panel=result.panel,
        stamp=made_by,
        first_genes_GD=table.genes_GD if recipe.genes.is_trained else None,
    )


@app.command
def plan(
    *,
    recipe: RecipeOption,
    shards: Path | None = None,
    cells: int = 1_764_921,
    genes: int = 19_379,
    gpu: list[str] | None = None,
    gpus: list[int] | None = None,
    efficiency: float = 0.5,
    seconds: float = 60,
    threads: Threads = 1,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Estimate a pretraining run before it runs: parameters, memory, hours by GPU and count, disk.

    Computed from the recipe; without --gpu some steps are timed on the device at hand. With --shards the lengths of
    cells are those of a corpus; without, they are drawn as those of the paper's corpus.

    Parameters
    ----------
    recipe
        Architecture, objectives, optimiser and training: files, each laid over the ones before, or JSON.
    shards
        Manifest of the corpus; gives cells, genes, lengths and size.
    cells
        Cells of a corpus without shards.
    genes
        Genes of a corpus without shards.
    gpu
        One or more of h100, h200, a100, a100-40, l40s, rtx4090.
    gpus
        Numbers of GPUs; by default 1, 2, 4 … 64, at most the cells of a batch.
    efficiency
        Share of a GPU's peaks that is reached; an assumption.
    seconds
        Approximate time budget of the steps that are timed.
    seed
        Random seed of the cells drawn.
    json
        Print JSON in place of tables.

    Example::

        celllm plan --recipe config/recipes/paper.yaml --gpu h100 a100
    """
    from dataclasses import asdict
    from json import dumps

    import torch

    from celllm.model.device import device_of
    from celllm.pretrain import estimate_table
    from celllm.pretrain.estimate import chunk_cost, estimate, memory_of
    from celllm.pretrain.measure import time_steps
    from celllm.pretrain.synthetic import corpus_size, synthetic_step

    device = torch.device(device_of("auto", threads=threads))
    corpus = corpus_size(shards, n_cells=cells, n_genes=genes, seed=seed)
    counts = gpus or [n for n in COUNTS if n <= recipe.training.batch_cells]
    found = estimate(recipe, corpus, gpus=gpu or [], counts=counts, efficiency=efficiency, seed=seed)
    timing = cpu = None
    if not gpu:
        lengths_B, targets_B = synthetic_step(recipe, corpus, seed=seed)
        timing = time_steps(recipe, lengths_B, targets_B, n_genes=corpus.n_genes, seconds=seconds, device=device)
        if device.type == "cpu":
            cost = chunk_cost(recipe, round(float(lengths_B.mean())), layout="cpu")
            cpu = memory_of(recipe, corpus, cost, recipe.training.chunk_tokens)
    if json:
        timed = None if timing is None else asdict(timing) | {"step_s": timing.step_s(found.flops.total)}
        values = {"digest": recipe.digest, **asdict(found), "timing": timed, "memory_cpu": cpu and asdict(cpu)}
        print(dumps(values, indent=2))
    else:
        lengths = "synthetic lengths, of the paper's corpus" if shards is None else f"lengths from {shards}"
        print(estimate_table.described(found, recipe, lengths=lengths, timing=timing, cpu=cpu))


@app.command
def measure_step(
    *,
    recipe: RecipeOption,
    shards: Path,
    batches: list[int],
    limit_gb: float,
    out: Path,
    seed: int = 0,
    threads: Threads = 1,
) -> None:
    r"""Measure seconds and peak memory of a contrastive step, chunked and full-batch, against its number of cells.

    Each step runs in a fresh process on the CPU, whatever the training ran on.

    Parameters
    ----------
    recipe
        Recipe whose encoder, longest cell and chunk are taken: files, each laid over the ones before, or JSON.
    shards
        Manifest of the corpus; gives the lengths of cells.
    batches
        Numbers of cells in a batch.
    limit_gb
        Memory that a process may take, 10^9 bytes.
    out
        Table to write, step_cost.tsv.
    seed
        Random seed of the cells drawn.

    Example::

        celllm measure_step --recipe config/recipes/paper.yaml config/recipes/small.yaml \
            --shards results/shards/manifest.json --batches 16 64 256 --limit-gb 4 --out step_cost.tsv
    """
    import numpy as np
    import pandas as pd

    from celllm.corpus.reader import ShardReader
    from celllm.pretrain import step_cost
    from celllm.pretrain.measure import StepPlan, sweep
    from celllm.pretrain.synthetic import sampled_expressed

    corpus = ShardReader(shards)
    expressed = sampled_expressed(corpus, max(batches), seed=seed)
    step = StepPlan(
        settings=recipe.encoder,
        n_genes=corpus.n_genes,
        lengths_B=np.minimum(expressed + 1, recipe.tokens.max_length),
        max_tokens=recipe.training.chunk_tokens,
        temperature=recipe.objectives.contrastive.temperature,
        threads=threads,
        limit_bytes=int(limit_gb * 1e9),
    )
    rows = sweep(step, batches, report=lambda message: sys.stderr.write(f"{message}\n"))
    step_cost.write(pd.DataFrame(rows), out)
