"""`config.yaml`: what to run, checked before the first job.

`python -m celllm.config.settings > workflow/schemas/config.schema.json` writes the JSON schema anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from celllm.base.errors import InputError
from celllm.config.explain import first_error, unknown
from celllm.config.overlays import read_mapping
from celllm.config.recipe import Recipe

Seed = Annotated[int, Field(ge=0)]
Overlays = str | list[str | dict[str, Any]]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Threads(_Section):
    """CPU threads a job."""

    pretrain: Annotated[int, Field(ge=1)]
    """CPU threads of pretraining, gene embedding and step cost."""
    fit: Annotated[int, Field(ge=1)]
    """CPU threads of a job of the benchmark, of embeddings and audits."""


class FitBudget(_Section):
    """How long a method that learns batch by batch may learn: the same for every method; what ends first counts."""

    cells: Annotated[int, Field(ge=1)] = 3_200
    """Training cells shown to a classifier, repeats counted."""
    pairs: Annotated[int, Field(ge=1)] = 400_000
    """Training pairs of line and drug shown to a regression, repeats counted."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """Passes over the training subset."""
    checks: Annotated[int, Field(ge=1)] = 8
    """How often the validation subset is asked meanwhile, in even distances; the best weights are kept."""
    patience: Annotated[int, Field(ge=1)] = 3
    """Checks without a better score after which learning ends."""


class StepCost(_Section):
    """What memory and time of a step are measured for, chunked and full-batch, on the CPU."""

    encoder: str
    """Encoder whose recipe is measured: a key of `encoders`."""
    batches: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    """Numbers of cells in a step, B."""
    limit_gb: Annotated[float, Field(gt=0)]
    """Memory that a step may take, 10^9 bytes of the host; a step that takes more does not fit."""


class Settings(_Section):
    """config.yaml: what to run."""

    mirror: str | None
    """Folder in which files are looked for before the network; relative to the working directory."""
    accelerator: Literal["cpu", "gpu"]
    """gpu: pretraining, and fits that start from an encoder, ask for one (resource gpu=1); cpu: no job does."""
    gene_annotation: str
    """Data set of role genes: a table in the format of HGNC's complete set."""
    locus_group: Literal["protein-coding gene", "non-coding RNA", "pseudogene", "other"]
    """HGNC locus group whose genes make the vocabulary."""
    mapped_threshold: Annotated[float, Field(ge=0, le=1)]
    """Smallest share of a data set's counts that must reach the vocabulary, else its alignment fails."""
    malignancy_rule: Literal["metadata", "by_source"]
    """Tumour or normal: metadata, as cells or samples are annotated; by_source, one label for each source."""
    exclude_studies: list[str]
    """Studies (such as SRA550660) whose samples are neither fetched nor pretrained on."""
    network: str
    """Data set of role network, or coexpression: the strongest partners of each gene in the corpus."""
    gene2vec: str | None
    """Data set of role embedding: gene vectors for recipes whose genes.method is gene2vec; null: none at hand."""
    corpus: Annotated[list[str], Field(min_length=1)]
    """Data sets whose cells are pretrained on, without labels, without the test cells of any seed, and without cells
    that have the counts of a benchmark cell."""
    probe: str | None
    """Labelled data set on which a recipe with training.probe_every looks at the encoder while it trains; not in corpus
    and in no task that is run. null: none."""
    runs: str
    """Table of runs: which methods on which tasks, with which splits and seeds."""
    encoders: Annotated[dict[str, Overlays], Field(min_length=1)]
    """Pretrained encoders by the name that config/methods.tsv gives them: the recipes of config/recipes/ that are laid
    over one another, and values in place. The audits and UMAPs show the first."""
    trials: Annotated[int, Field(ge=1)]
    """Combinations of options that a method may try on the validation cells of a split; 1: defaults. With 2 or more,
    methods that fit in seconds try all of theirs."""
    fit_budget: FitBudget
    """How long methods that learn batch by batch may learn."""
    on_failure: Literal["show", "stop"]
    """What becomes of a run that fails: the report shows it as failed, or its job fails."""
    pretrain_seed: Seed
    """Seed of the weights, dropout, masks and order of the cells in pretraining."""
    data_seed: Seed
    """Seed of the simulator, of the shuffle of the shards and of the gene embedding."""
    shard_cells: Annotated[int, Field(ge=1)]
    """Cells in one shard file; sets memory while writing, nothing else."""
    threads: Threads
    """CPU threads of the two kinds of job that use more than one."""
    embed: list[str]
    """Labelled data sets whose cell embeddings are drawn in the report."""
    step_cost: StepCost | None
    """What memory and time of a step are measured for, chunked and full-batch, on the CPU; null: not measured."""


def check(config: Mapping[str, Any], *, files: Sequence[Path | str]) -> Settings:
    """Check the configuration in force; errors name where the wrong value comes from, as `holder` says.

    InputError for the first unknown key, missing key or wrong value, and for a key that stands twice in a file.
    """
    for file in files:
        read_mapping(Path(file))
    try:
        return Settings.model_validate(dict(config))
    except ValidationError as error:
        path = ".".join(str(part) for part in error.errors()[0]["loc"])
        remedy = "correct it; every key is explained in docs/configuration.md"
        raise first_error(error, Settings, file=holder(path, config, files), remedy=remedy) from None


def check_names(
    names: Iterable[str],
    known: Iterable[str],
    *,
    field: str,
    table: Path | str,
    file: Path | str,
) -> None:
    """Check that each name a configuration key lists is a row of its table (or a file of its folder).

    InputError naming the first unknown name, with the nearest known one.
    """
    known = list(known)
    for name in names:
        if name not in known:
            raise unknown(name, known, file=file, field=field, expected=f"names that stand in {table}")


def check_probe(
    probe: str | None,
    *,
    labels: bool,
    corpus: Iterable[str],
    tested: Iterable[str],
    recipes: Mapping[str, Recipe],
    file: Path | str,
) -> None:
    """Check that what encoders are looked at by, and perhaps chosen by, is neither trained on nor reported.

    `labels`: whether the data set has any; `tested`: data sets of the tasks that are run.

    InputError if it has no labels, or is in the corpus or in a task; or if there is none and a recipe asks for it.
    """
    asking = [name for name, recipe in recipes.items() if recipe.training.probe_every is not None]
    if probe is None and asking:
        found = f"null, and encoder {asking[0]} has training.probe_every"
    elif probe is not None and not labels:
        found = f"{probe}, which has no label_column"
    elif probe in set(corpus):
        found = f"{probe}, which is in the corpus"
    elif probe in set(tested):
        found = f"{probe}, on which a task is run"
    else:
        return
    raise InputError(
        file=file,
        field="probe",
        expected="a labelled data set that is neither in the corpus nor in a task of the runs",
        found=found,
        remedy="name another data set, or set training.probe_every: null in the recipe",
    )


def schema() -> str:
    """Return the JSON schema of `config.yaml`, as editors read it."""
    return json.dumps(Settings.model_json_schema(), indent=2) + "\n"


def holder(field: str, config: Mapping[str, Any], files: Sequence[Path | str]) -> str:
    """Return the last of `files` from which the value of a dotted key comes; the command line where it is of none."""
    for file in reversed(files):
        own, in_force = read_mapping(Path(file)), config
        for part in field.split("."):
            if not isinstance(own, Mapping) or not isinstance(in_force, Mapping) or part not in in_force:
                break
            own, in_force = own.get(part, ...), in_force[part]
        if own == in_force or (isinstance(own, Mapping) and isinstance(in_force, Mapping)):
            return str(file)
    return "--config on the command line" if files else "configuration"


if __name__ == "__main__":
    sys.stdout.write(schema())
