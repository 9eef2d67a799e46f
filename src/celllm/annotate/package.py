"""An encoder's folder from the files of a run: what `celllm package_encoder` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from celllm.annotate import folder as folders
from celllm.annotate.card import card
from celllm.annotate.folder import EncoderFolder
from celllm.base.provenance import stamp
from celllm.config import catalogue as catalogue_file
from celllm.corpus import format as shards_file
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model.store import PretrainedEncoder, load_encoder
from celllm.pretrain import probe
from celllm.pretrain.step import initial_module
from celllm.sources import hgnc as hgnc_file
from celllm.sources import raw


def package(
    folder: Path,
    encoder: Path,
    vocabulary: Path,
    hgnc: Path,
    *,
    shards: Path | None,
    catalogue: Path | None,
    cells: Sequence[Path],
    components: Path | None,
    seed: int | None,
    stage: str,
) -> EncoderFolder:
    """Write the folder; parameters as of the command. InputError if the encoder is too large for the package."""
    genes = vocabulary_file.read(vocabulary)
    pretrained = load_encoder(encoder, vocabulary=genes.digest)
    annotation = raw.read(hgnc).only().path
    probed = {}
    if shards is not None and components is not None:
        probed = _probed(pretrained, genes, cells, shards=shards, components=components, seed=seed or 0)
    text = card(
        pretrained,
        seed=seed,
        shards=None if shards is None else shards_file.read(shards),
        catalogue=None if catalogue is None else catalogue_file.read(catalogue),
        probed=probed,
    )
    return folders.write(
        folder,
        pretrained,
        vocabulary=genes,
        hgnc=hgnc_file.read(annotation),
        card=text,
        stamp=stamp(stage, {"encoder": encoder, "vocabulary": vocabulary, "hgnc": annotation}),
        max_bytes=folders.MAX_BYTES,
    )


def _probed(
    pretrained: PretrainedEncoder,
    genes: Vocabulary,
    cells: Sequence[Path],
    *,
    shards: Path,
    components: Path,
    seed: int,
) -> dict[str, dict[str, float | None]]:
    """Probe the encoder on labelled cells, beside components and itself as it was drawn."""
    from celllm.corpus.reader import cells_of

    corpus, device = cells_of(shards, genes), torch.device("cpu")
    first = pretrained.first_genes_GD
    table = pretrained.encoder.embedding.genes.weight[: genes.n_genes].detach() if first is None else first
    drawn = initial_module(pretrained.recipe, genes.n_genes, table.numpy(), seed=seed, device=device).encoder.eval()
    untrained = replace(pretrained, encoder=drawn)
    found = {}
    for path in cells:
        asked = probe.read(path, components, corpus=corpus, vocabulary=genes)
        found[path.stem] = probe.Probe(asked, untrained, device=device).figures(pretrained)
    return found
