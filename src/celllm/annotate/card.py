"""`card.md` of an encoder's folder: what it was made of, how it does beside cheaper ways, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from celllm.model.store import PretrainedEncoder
from celllm.pretrain import probe

if TYPE_CHECKING:
    from celllm.config.catalogue import Catalogue
    from celllm.corpus.format import ShardManifest

LIMITS = """## Limits

- Human cells, raw counts of all genes. Other species, and chosen genes alone, give embeddings that mean little.
- An embedding holds sequencing depth and protocol beside biology; `celllm embed` prints how much of depth.
- `celllm annotate` leaves cells unlike the reference unassigned; across studies it misses some, and misnames them.
- Research only; no diagnosis.
"""


FEATURES = {
    "components_": "50 principal components of the corpus",
    "untrained_": "the encoder untrained",
    "": "this encoder",
    "joined_": "this encoder and the components",
}
"""What the probe compares, in its names."""
PROTOCOL = (
    f"Macro-F1 of logistic regression on up to {probe.MAX_CELLS:,} cells of each data set, of which the corpus has "
    f"none; mean of {probe.N_SPLITS} splits, a fifth of the cells tested. "
    "`celllm annotate` compares such ways on your own reference."
)


def card(
    pretrained: PretrainedEncoder,
    *,
    seed: int | None = None,
    shards: ShardManifest | None = None,
    catalogue: Catalogue | None = None,
    probed: Mapping[str, Mapping[str, float | None]] | None = None,
    notes: str = "",
) -> str:
    """Write the card, in Markdown; what is not given is left out.

    `seed` is that of its pretraining, `shards` and `catalogue` tell of its corpus; `probed` has for each labelled data
    set what `pretrain.probe.Probe.figures` says; `notes` are Markdown.
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
        "" if not probed else _probed(probed, catalogue),
        "" if shards is None else _corpus(shards, catalogue),
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


def _probed(probed: Mapping[str, Mapping[str, float | None]], catalogue: Catalogue | None) -> str:
    """Macro-F1 of each data set and their mean, a table for each share of the labels."""
    rows = {} if catalogue is None else catalogue.datasets
    titles = [rows[name].title if name in rows else name for name in probed]
    lines = ["## Frozen embedding beside cheaper ways", PROTOCOL]
    for share, size in probe.SHARES.items():
        table = [f"{size:.0%} of the labels:\n", f"| features | {' | '.join(titles)} | mean |"]
        table.append(f"|---|{'---:|' * (len(titles) + 1)}")
        for name, title in FEATURES.items():
            values = [found[f"probe_{name}{share}"] or 0.0 for found in probed.values()]
            table.append(f"| {title} | {' | '.join(f'{value:.3f}' for value in [*values, fmean(values)])} |")
        lines.append("\n".join(table))
    return "\n\n".join(lines)
