"""Sections of a recipe that make a model: how cells become tokens, what genes start from, and the encoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Keys of a recipe; an unknown one is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TokenSettings(Section):
    """How a cell's expression values become tokens (paper section 4; scBERT's preprocessing)."""

    target_sum: Annotated[float, Field(gt=0)] = 10_000
    """Counts a cell is scaled to before the logarithm."""
    log_base: Literal[2, "e"] = 2
    """Base of log(1 + x)."""
    rounding: Literal["floor", "round"] = "floor"
    """How the logarithm becomes a whole bin."""
    top_bin: Annotated[int, Field(ge=1, le=5)] = 5
    """Larger values fall into this bin."""
    max_length: Annotated[int, Field(ge=2)]
    """Longest sequence, CLS included, in tokens."""
    truncation: Literal["random_subset", "head", "top_expressed"] = "random_subset"
    """Which expressed genes stay when there are too many."""
    layout: Literal["nonzero", "full"] = "nonzero"
    """`nonzero`: expressed genes only (CellLM); `full`: every gene of a panel, silent ones as bin 0 (scBERT)."""
    panel_size: Annotated[int, Field(ge=1)] | None = None
    """For layout `full`: the number of genes, those of highest mean in the corpus; null: all that fit."""


class GeneSettings(Section):
    """Where the frozen gene embedding comes from (paper section 6)."""

    method: Literal["graphmae", "svd", "gene2vec", "random", "learned", "imported"]
    """GraphMAE on the network; SVD of the network's adjacency; published gene vectors (scBERT's, of 200 numbers);
    frozen noise; trained with the encoder; frozen, and come with a published checkpoint (the command `import`)."""
    epochs: Annotated[int, Field(ge=1)] = 100
    """GraphMAE: passes over the graph."""
    hidden: Annotated[int, Field(ge=1)] = 256
    """GraphMAE: width of its hidden layer."""
    feature_width: Annotated[int, Field(ge=1)] | None = None
    """GraphMAE: numbers by which a gene's neighbours are described; null: as many as the embedding has."""
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """GraphMAE: share of genes whose features are masked."""
    alpha: Annotated[float, Field(ge=1)] = 2.0
    """GraphMAE: exponent of the scaled cosine error."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """GraphMAE: Adam's learning rate."""


class EncoderSettings(Section):
    """The Performer (paper section 5)."""

    width: Annotated[int, Field(ge=1)]
    """Embedding width, D."""
    depth: Annotated[int, Field(ge=1)]
    """Number of layers."""
    heads: Annotated[int, Field(ge=1)]
    """Attention heads a layer."""
    head_width: Annotated[int, Field(ge=1)]
    """Width of one head; heads x head_width need not equal `width`."""
    feedforward_factor: Annotated[int, Field(ge=1)] = 4
    """Hidden width of the feed-forward block over `width`."""
    n_features: Annotated[int, Field(ge=1)] | None = None
    """Random features of FAVOR+; null: int(head_width x ln head_width)."""
    attention: Literal["favor", "softmax", "released"] = "favor"
    """`favor`: linear, the paper's; `softmax`: exact; `released`: the authors' code, in which a cell depends on its
    padding and the other cells of the batch, for checkpoints that were trained so."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on embedding, attention output and feed-forward during pretraining."""
