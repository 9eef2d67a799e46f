"""Commands: fetch and simulate datasets, and list the files that a configuration needs."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Literal

from celllm.base.app import commands
from celllm.base.errors import InputError
from celllm.config import tables
from celllm.config.rows import DatasetRow, SourceFileRows

app = commands()


@app.command
def fetch(
    *,
    dataset: DatasetRow,
    files: SourceFileRows,
    manifest: Path,
    checksums: Path | None = None,
    samples: Path | None = None,
    samples_reader: str = "sample_table",
    exclude_studies: list[str] | None = None,
    mirror: list[Path] | None = None,
    checkout: Path = Path(),
) -> None:
    r"""Download a dataset, verify it and record its checksums.

    Files are looked for in an installed package or the checkout, among those already fetched, in the mirror folders,
    and then downloaded. An interrupted download resumes.

    Parameters
    ----------
    dataset
        Row of config/datasets.tsv, as JSON.
    files
        The dataset's rows of config/files.tsv, as a JSON list.
    manifest
        Where to write the manifest; the files go beside it.
    checksums
        config/checksums.tsv: what files without a published checksum were at first; new ones are added.
    samples
        Manifest of the dataset's list of samples, if it has one.
    samples_reader
        Format of that list.
    exclude_studies
        Studies whose samples are left out.
    mirror
        Folders in which files are looked for before any download.
    checkout
        Folder that repo: addresses start from.

    Example::

        python -m celllm fetch \
            --dataset '{"dataset": "pbmc", "title": "PBMC", "role": "task", "reader": "h5ad",
                "units": "counts", "simulated": false, "label_column": "bulk_labels", "sample_column": null,
                "malignancy": "normal", "min_genes": 1, "citation": null, "licence": null}' \
            --files '[{"dataset": "pbmc", "file": "pbmc.h5ad", "bytes": null, "sha256": null, "sample": null,
                "url": "package:scanpy:datasets/10x_pbmc68k_reduced.h5ad"}]' \
            --manifest resources/raw/pbmc/manifest.json
    """
    from celllm.sources import raw
    from celllm.sources import samples as sample_lists
    from celllm.sources.fetch import FetchContext, fetch_all

    listed, excluded = None, exclude_studies or []
    if samples is not None:
        listing = raw.read(samples)
        listed = sample_lists.read(listing.only().path, samples_reader, dataset=listing.dataset)
        listed = sample_lists.without_studies(listed, excluded)
        sys.stderr.writelines(f"{remark}\n" for remark in listed.remarks)
    how_to = sample_lists.HOW_TO.get(dataset.reader)
    context = FetchContext(
        folder=manifest.parent,
        mirrors=tuple(mirror or ()),
        checkout=checkout,
        checksums=checksums,
        built=dataset.built,
        how_to=None if how_to is None else f"{dataset.title}: {how_to}",
    )
    fetched = fetch_all(sample_lists.expand(files, listed, excluded=excluded), context)
    raw.write(dataset.dataset, fetched, manifest)


@app.command
def simulate(
    *,
    dataset: str,
    kind: Literal["tumour_cells", "drug_cells", "cell_lines"],
    hgnc: Path,
    seed: int,
    manifest: Path,
) -> None:
    r"""Simulate a dataset that the demo has no real cells for, in the form in which a source would publish it.

    Parameters
    ----------
    dataset
        Its name, which must begin with simulated_.
    kind
        What to simulate.
    hgnc
        Manifest of the gene annotation, for the genes' names.
    seed
        Random seed of genes and cells; datasets of one seed share their genes.
    manifest
        Where to write the manifest; the files go beside it.

    Example::

        python -m celllm simulate --dataset simulated_drug_cells --kind drug_cells --seed 0 \
            --hgnc resources/raw/hgnc_demo/manifest.json --manifest resources/raw/simulated_drug_cells/manifest.json
    """
    import anndata as ad
    import pandas as pd

    from celllm.base.atomic import writing
    from celllm.sources import hgnc as annotation
    from celllm.sources import raw
    from celllm.sources.simulate_lines import draw

    if not dataset.startswith("simulated_"):
        expected, remedy = "a name that begins with simulated_", f"call it simulated_{dataset}"
        raise InputError(file="(command line)", field="--dataset", expected=expected, found=dataset, remedy=remedy)
    cells, responses = draw(kind, annotation.read(raw.read(hgnc).only().path), seed=seed)
    manifest.unlink(missing_ok=True)
    files = [manifest.parent / f"{dataset}.h5ad"]
    var, uns = pd.DataFrame(index=pd.Index(cells.names)), {"units": "counts", "simulated": True}
    with writing(files[0]) as part:
        ad.AnnData(cells.counts, cells.obs, var, uns).write_h5ad(part, compression="gzip")
    if responses is not None:
        files.append(manifest.parent / f"{dataset}_response.parquet")
        with writing(files[1]) as part:
            responses.to_parquet(part, index=False)
    raw.write(dataset, map(raw.describe, files), manifest)
    expressed = cells.counts.getnnz(axis=1).mean()
    n_cells, n_genes = cells.counts.shape
    sys.stdout.write(f"{n_cells} simulated cells, {expressed:.0f} of {n_genes} genes expressed in each\n")


@app.command
def sources(
    *,
    config: list[Path] | None = None,
    checkout: Path = Path(),
    raw: Path = Path("resources/raw"),
    mirror: Path | None = None,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """List the files that a configuration needs: size, licence, what is here, and where to put the rest.

    Parameters
    ----------
    config
        Configuration files to lay over config.yaml; without any, all datasets are listed.
    checkout
        Folder that holds config.yaml and config/.
    raw
        Folder of fetched files.
    mirror
        Mirror folder; without it the configuration's.
    verbose
        Print whom to cite, too.
    json
        Print JSON.

    Example::

        python -m celllm sources --config config/paper.yaml
    """
    from celllm.config import merged
    from celllm.sources import checksums, inventory

    folder = checkout / "config"
    datasets = tables.read_datasets(folder / "datasets.tsv")
    values, in_force = merged.read([checkout / "config.yaml", *(config or [])])
    mirror = mirror or (None if in_force.mirror is None else Path(in_force.mirror))
    names = [row.dataset for row in datasets if not row.simulated]
    if config:
        run_tasks = tables.read_runs(checkout / in_force.runs).names
        tasks = tables.read_tasks(folder / "tasks.tsv")
        names = inventory.needed(values, datasets=datasets, tasks=tasks, run_tasks=run_tasks)
    look = inventory.Inventory(
        datasets=datasets,
        files=tables.read_files(folder / "files.tsv"),
        checksums=checksums.read(folder / "checksums.tsv"),
        raw=raw,
        mirrors=[] if mirror is None else [mirror],
        checkout=checkout,
        excluded=in_force.exclude_studies,
    )
    entries = [look.entry(name) for name in names]
    text = inventory.as_text(entries, mirror=mirror, cite=verbose)
    sys.stdout.write(json_format.dumps(entries, indent=2) + "\n" if json else text)


@app.command
def look(*files: Path) -> None:
    """Look into files of any format: what is in them, orientation, names, units, and which part holds counts.

    Parameters
    ----------
    files
        AnnData, Loom, Cell Ranger's matrices, R objects, tables of text, archives, parquet.

    Example::

        python -m celllm look resources/raw/pbmc68k_reduced/10x_pbmc68k_reduced.h5ad
    """
    from celllm.sources import look as looking

    for file in files:
        sys.stdout.write(looking.look(file))
