"""An encoder's folder from the files of a run: what `celllm package_encoder` does."""

from __future__ import annotations

from pathlib import Path

from celllm.annotate import folder as folders
from celllm.annotate.card import card
from celllm.annotate.folder import EncoderFolder
from celllm.base.provenance import stamp
from celllm.bench import scores as scores_file
from celllm.config import catalogue as catalogue_file
from celllm.corpus import format as shards_file
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.model.store import load_encoder
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
    scores: Path | None,
    notes: Path | None,
    seed: int | None,
    stage: str,
) -> EncoderFolder:
    """Write the folder; parameters as of the command. InputError if the encoder is too large for the package."""
    genes = vocabulary_file.read(vocabulary)
    pretrained = load_encoder(encoder, vocabulary=genes.digest)
    annotation = raw.read(hgnc).only().path
    text = card(
        pretrained,
        seed=seed,
        shards=None if shards is None else shards_file.read(shards),
        catalogue=None if catalogue is None else catalogue_file.read(catalogue),
        scores=None if scores is None else scores_file.read(scores),
        notes="" if notes is None else notes.read_text(),
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
