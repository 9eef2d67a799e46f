"""`card.md` of an encoder's folder: what it was made of, how it does beside cheaper ways, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celllm.model.store import PretrainedEncoder

if TYPE_CHECKING:
    import pandas as pd

    from celllm.config.catalogue import Catalogue
    from celllm.corpus.format import ShardManifest

LIMITS = """## Limits

- Human cells, raw counts of all genes. Other species, and chosen genes alone, give embeddings that mean little.
- An embedding holds sequencing depth and protocol beside biology; `celllm embed` prints how much of depth.
- A cell type that no reference has is given the label of another, unless its confidence is low.
- Research only; no diagnosis.
"""


def card(
    pretrained: PretrainedEncoder,
    *,
    seed: int | None = None,
    shards: ShardManifest | None = None,
    catalogue: Catalogue | None = None,
    scores: pd.DataFrame | None = None,
    notes: str = "",
) -> str:
    """Write the card, in Markdown; what is not given is left out.

    Parameters
    ----------
    pretrained
        The encoder.
    seed
        Of its pretraining.
    shards, catalogue
        Its corpus; and the citation and licence of each of its data sets.
    scores
        Of the benchmark, in the columns of bench.scores.
    notes
        What else is to be said, in Markdown.
    """
    encoder, training = pretrained.recipe.encoder, pretrained.recipe.training
    n_parameters = sum(parameter.numel() for parameter in pretrained.encoder.parameters())
    sections = [
        "# A CellLM encoder",
        f"{n_parameters:,} parameters; {pretrained.encoder.n_genes:,} genes; width {encoder.width}, {encoder.depth} "
        f"layers, attention {encoder.attention}. Pretrained for {training.steps:,} steps of {training.batch_cells:,} "
        f"cells{'' if seed is None else f', seed {seed}'}. The recipe stands in the header of encoder.safetensors; its "
        f"digest is {pretrained.recipe.digest[:12]}.",
        notes,
        "" if shards is None else _corpus(shards, catalogue),
        "" if scores is None or catalogue is None else _scores(scores, catalogue),
        LIMITS,
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _corpus(shards: ShardManifest, catalogue: Catalogue | None) -> str:
    rows = {} if catalogue is None else catalogue.datasets
    lines = [
        f"## Corpus\n\n{shards.n_cells:,} cells, test cells of every task left out.\n",
        "| data set | cells | citation | licence |",
    ]
    lines.append("|---|---:|---|---|")
    for name, share in shards.datasets.items():
        row = rows.get(name)
        what = name + (" (simulated)" if share["simulated"] else "")
        cited = ("", "") if row is None else (row.citation or "", row.licence or "none stated")
        lines.append(f"| {what} | {share['kept']:,} | {cited[0]} | {cited[1]} |")
    return "\n".join(lines)


def _scores(scores: pd.DataFrame, catalogue: Catalogue) -> str:
    """Mean of each task's headline metric over splits and seeds, best first."""
    lines = ["## Scores", "Mean over splits and seeds; methods of the same task saw the same cells."]
    for name, task in catalogue.tasks.items():
        found = scores[(scores["task"] == name) & (scores["metric"] == task.headline)]
        if found.empty:
            continue
        means: Mapping[Any, float] = found.groupby("method")["value"].mean().sort_values(ascending=False).to_dict()
        titles = {
            method: catalogue.methods[method].title if method in catalogue.methods else method for method in means
        }
        lines.append(f"{task.title}, {task.headline}:\n")
        lines[-1] += "\n".join(
            ["", "| method | value |", "|---|---:|", *(f"| {titles[m]} | {v:.3f} |" for m, v in means.items())]
        )
    return "\n\n".join(lines)
