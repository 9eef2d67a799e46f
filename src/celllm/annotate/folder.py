"""An encoder's folder: all that is needed to embed the cells of strangers.

`encoder.safetensors`; `genes.tsv`, its gene axis; `hgnc.tsv.gz`, the approved genes by whose names others are mapped;
`card.md`, what it is; `golden.json`, some cells and the embeddings they must get. `celllm package_encoder` writes one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.atomic import writing
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.harmonise.symbols import SymbolIndex
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model import inference
from celllm.model.store import PretrainedEncoder, load_encoder, save_encoder
from celllm.sources import hgnc as hgnc_file

ENCODER, GENES, HGNC, CARD, GOLDEN = "encoder.safetensors", "genes.tsv", "hgnc.tsv.gz", "card.md", "golden.json"
MAX_BYTES: Final = 10_000_000
"""Largest encoder.safetensors that a package carries."""
TABLE = "embedding.genes.weight"
"""The weights that are kept in float16: most of a small encoder's."""
N_GOLDEN, GOLDEN_GENES = 3, 200
"""Golden cells, and the genes each expresses at most."""
TOLERANCE: Final = 1e-4
"""Largest difference from the golden embeddings, over their largest number: other machines round otherwise."""
PACKAGE = "celllm package_encoder --help"


@dataclass(frozen=True)
class EncoderFolder:
    """What a folder holds, read."""

    path: Path
    pretrained: PretrainedEncoder
    vocabulary: Vocabulary
    hgnc: pd.DataFrame
    """Approved genes, as sources.hgnc reads them."""

    @cached_property
    def index(self) -> SymbolIndex:
        """Look-ups over all approved genes."""
        return SymbolIndex(self.hgnc)

    @property
    def facts(self) -> dict[str, str]:
        """Name and digests, to be written beside what the encoder made."""
        return {"name": self.path.name, "sha256": self.pretrained.digest, "vocabulary": self.vocabulary.digest}


def packaged() -> Path:
    """Return the folder of the encoder that the package carries, there or not."""
    return Path(str(resources.files("celllm.annotate"))) / "encoder"


def read(path: Path | str | None = None) -> EncoderFolder:
    """Read an encoder's folder, given as such or by the encoder.safetensors in it; None: the one in the package.

    InputError if a file is missing or is not what its name says; VocabularyMismatch if encoder and genes do not belong
    together.
    """
    folder = packaged() if path is None else Path(path)
    if path is None and not (folder / ENCODER).is_file():
        raise InputError(
            file="--encoder",
            field="encoder",
            expected="an encoder in the package",
            found="none in this installation",
            remedy=f"give a folder, --encoder FOLDER; of a pretraining run one is made by: {PACKAGE}",
        )
    encoder = folder if folder.is_file() else folder / ENCODER
    folder = encoder.parent
    for file in (encoder, folder / GENES, folder / HGNC):
        if not file.is_file():
            raise InputError(
                file=folder,
                field=file.name,
                expected=f"an encoder's folder with {ENCODER}, {GENES} and {HGNC}",
                found=f"no {file.name}" if folder.is_dir() else "no such folder",
                remedy=f"make the folder of the encoder, its genes.tsv and HGNC's table: {PACKAGE}",
            )
    genes = vocabulary_file.read(folder / GENES)
    pretrained = load_encoder(encoder)
    if pretrained.vocabulary != genes.digest:
        raise VocabularyMismatch(
            file=folder / GENES,
            found=genes.digest,
            expected=pretrained.vocabulary,
            remedy=f"put the encoder's own genes.tsv beside it: {PACKAGE}",
        )
    if pretrained.encoder.n_genes != genes.n_genes:
        raise InputError(
            file=encoder,
            field="weights",
            expected=f"{genes.n_genes} genes, as {GENES} has",
            found=f"{pretrained.encoder.n_genes}",
            remedy=f"make the folder again: {PACKAGE}",
        )
    return EncoderFolder(folder, pretrained, genes, hgnc_file.read(folder / HGNC))


def write(
    folder: Path,
    pretrained: PretrainedEncoder,
    *,
    vocabulary: Vocabulary,
    hgnc: pd.DataFrame,
    card: str,
    stamp: Mapping[str, Any],
    max_bytes: int | None = None,
) -> EncoderFolder:
    """Write an encoder's folder and return what it now holds; the weights of genes become float16.

    Files of earlier runs are replaced. `hgnc` are the approved genes of HGNC, `card` the text of card.md, `stamp` what
    made it, as celllm.base.provenance.stamp says it. InputError if encoder.safetensors is larger than `max_bytes`.
    """
    state = pretrained.encoder.state_dict()
    n_bytes = sum(weights.numel() * (2 if name == TABLE else 4) for name, weights in state.items())
    if max_bytes is not None and n_bytes > max_bytes:
        raise InputError(
            file=folder / ENCODER,
            field="size",
            expected=f"at most {max_bytes / 1e6:g} MB",
            found=f"{n_bytes / 1e6:.1f} MB",
            remedy="package an encoder of less width",
        )
    vocabulary_file.write(vocabulary, folder / GENES)
    with writing(folder / HGNC) as part:
        _as_published(hgnc).to_csv(part, sep="\t", index=False, compression={"method": "gzip", "mtime": 0})
    with writing(folder / CARD) as part:
        part.write_text(card, encoding="utf-8")
    save_encoder(
        folder / ENCODER,
        pretrained.encoder,
        recipe=pretrained.recipe,
        vocabulary=vocabulary.digest,
        panel=pretrained.panel,
        stamp=stamp,
        half=(TABLE,),
    )
    written = read(folder)
    cells = golden_cells(vocabulary.n_genes, seed=0)
    embedded_ND = inference.embed_cells(written.pretrained, cells, units="counts")
    golden = [
        {"genes": cell.indices.tolist(), "counts": cell.data.tolist(), "embedding": z_D.tolist()}
        for cell, z_D in zip(cells, embedded_ND, strict=True)
    ]
    with writing(folder / GOLDEN) as part:
        part.write_text(json.dumps(golden) + "\n", encoding="utf-8")
    return written


def golden_cells(n_genes: int, *, seed: int) -> sparse.csr_matrix:
    """Draw the golden cells: simulated counts of genes drawn at random."""
    generator = np.random.default_rng(seed)
    n_expressed = min(GOLDEN_GENES, n_genes)
    genes = [np.sort(generator.choice(n_genes, n_expressed, replace=False)) for _ in range(N_GOLDEN)]
    counts = 1 + generator.poisson(2.0, N_GOLDEN * n_expressed)
    starts = np.arange(N_GOLDEN + 1) * n_expressed
    return sparse.csr_matrix((counts, np.concatenate(genes), starts), (N_GOLDEN, n_genes))


def golden_difference(found: EncoderFolder) -> float:
    """Return how far the embeddings of the golden cells are from those in the folder, over the largest number."""
    cells = json.loads((found.path / GOLDEN).read_text(encoding="utf-8"))
    starts = np.cumsum([0, *(len(cell["genes"]) for cell in cells)])
    columns = np.concatenate([cell["genes"] for cell in cells])
    counts = np.concatenate([cell["counts"] for cell in cells])
    matrix = sparse.csr_matrix((counts, columns, starts), (len(cells), found.vocabulary.n_genes))
    expected_ND = np.array([cell["embedding"] for cell in cells])
    embedded_ND = inference.embed_cells(found.pretrained, matrix, units="counts")
    return float(np.abs(embedded_ND - expected_ND).max() / np.abs(expected_ND).max())


def _as_published(hgnc: pd.DataFrame) -> pd.DataFrame:
    """Undo what sources.hgnc.read does to the table."""
    lists = {column: hgnc[column].str.join("|") for column in hgnc_file.LISTS}
    return hgnc.assign(status="Approved", **lists)[list(hgnc_file.COLUMNS)]
