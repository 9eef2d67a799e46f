"""The commands of the pretraining corpus."""

from __future__ import annotations

from pathlib import Path

from celllm.base.app import Stage, VocabularyFile, commands

app = commands()


@app.command
def write_shards(
    *,
    cells: Path,
    exclude: list[Path] | None = None,
    benchmark_cells: list[Path] | None = None,
    shared: list[Path] | None = None,
    vocabulary: VocabularyFile,
    shard_cells: int = 8_192,
    stage: Stage = "write_shards",
    manifest: Path,
) -> None:
    r"""Write a data set's pretraining cells as shards: all but the test cells of any task.

    Parameters
    ----------
    cells
        aligned cells of a data set of the corpus
    exclude
        splits whose test cells stay out, or manifests of splits
    benchmark_cells
        aligned cells of the tasks; cells with equal counts stay out of the corpus
    shared
        those of the benchmark cells that the corpus has too: of them only test cells count
    shard_cells
        cells in a shard
    manifest
        manifest to write, with the shards beside it

    Example::

        celllm write_shards --cells results/cells/pbmc68k.h5ad --exclude results/splits/annotation_pbmc68k/*.parquet \
            --vocabulary results/vocabulary/genes.tsv --manifest results/shards/pbmc68k/manifest.json
    """
    from celllm.base.heap import return_large_blocks
    from celllm.base.provenance import stamp
    from celllm.corpus import writer
    from celllm.harmonise import vocabulary as vocabulary_file
    from celllm.splits import format as split_file

    return_large_blocks()
    genes = vocabulary_file.read(vocabulary)
    tested = {unit for file in split_file.files_of(exclude or ()) for unit in split_file.read(file).units_of("test")}
    written = writer.write(
        cells,
        manifest,
        vocabulary=genes.digest,
        n_genes=genes.n_genes,
        tested=tested,
        hashes=writer.benchmark_hashes(benchmark_cells or (), shared or (), tested),
        shard_cells=shard_cells,
        provenance=stamp(stage, {"cells": cells}),
    )
    (share,) = written.datasets.values()
    print(
        f"{written.n_cells} cells in {len(written.shards)} shards; left out: {share['excluded_test']} test cells, and "
        f"{share['excluded_equal']} cells with the counts of a benchmark cell"
    )


@app.command
def join_shards(*, shards: list[Path], seed: int, stage: Stage = "join_shards", manifest: Path) -> None:
    r"""Join the shards of all data sets into the pretraining corpus, in random order.

    Parameters
    ----------
    shards
        manifests of the data sets' shards, which stay where they are
    seed
        random seed of the order of the cells
    manifest
        manifest to write

    Example::

        celllm join_shards --shards results/shards/*/manifest.json --seed 0 --manifest results/shards/manifest.json
    """
    from celllm.base.provenance import stamp
    from celllm.corpus import writer

    inputs = {f"shards {file.parent.name}": file for file in shards}
    written = writer.join(shards, manifest, seed=seed, provenance=stamp(stage, inputs, seed=seed))
    print(f"{written.n_cells} cells of {len(written.datasets)} data sets in {len(written.shards)} shards")
