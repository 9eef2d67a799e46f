"""Sections of a recipe that make a model: how cells become tokens, what genes start from, and the encoder."""

from __future__ import annotations

import math
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
    embed_length: Annotated[int, Field(ge=2)] | None = None
    """The same where nothing is trained and cells are only embedded; null: all expressed genes."""
    truncation: Literal["random_subset", "head", "top_expressed"] = "random_subset"
    """Which expressed genes stay when there are too many."""
    layout: Literal["nonzero", "full"] = "nonzero"
    """`nonzero`: expressed genes only (CellLM); `full`: every gene of a panel, silent ones as bin 0 (scBERT)."""
    panel_size: Annotated[int, Field(ge=1)] | None = None
    """For layout `full`: the number of genes, those of highest mean in the corpus; null: all that fit."""


class GeneSettings(Section):
    """Where the gene embedding comes from (paper section 6)."""

    method: Literal["graphmae", "svd", "gene2vec", "corpus", "corpus_network", "random", "imported"]
    """GraphMAE on the network; SVD of the network's adjacency; published gene vectors (scBERT's, of 200 numbers); right
    singular vectors of the log-normalised pretraining cells; these in the first half of the width and GraphMAE in the
    second; noise; come with a published checkpoint (the command `import`)."""
    trainable: Literal["frozen", "trained"] = "frozen"
    """Whether pretraining moves it."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Root mean square of its numbers at the start. A table that is to be learned wants a small one, 0.05."""
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

    @property
    def is_trained(self) -> bool:
        """Whether pretraining moves the gene embedding."""
        return self.trainable == "trained"


class EncoderSettings(Section):
    """The encoder: the paper's Performer (section 5), or a smaller relative."""

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
    attention: Literal["favor", "softmax", "none", "released"] = "favor"
    """`favor`: linear, the paper's; `softmax`: exact; `none`: genes meet in a mean alone, and layers are feed-forward
    blocks on it; `released`: the authors' code, in which a cell depends on its padding and the other cells of the
    batch, for checkpoints that were trained so."""
    expression: Literal["bins", "value"] = "bins"
    """How a token carries expression: `bins`, a learned vector a bin, added to the gene's; `value`, the log-normalised
    expression, by which the gene's vector is multiplied. A masked token has no value: MASK's vector is added."""
    cls: Literal["constant", "mean_of_tokens"] = "constant"
    """What CLS starts from: a vector that is the same for all cells, or the mean of the cell's own visible genes,
    normalised. With attention `none` it is always the mean."""
    pooling: Literal["cls", "mean", "both"] = "cls"
    """What of a cell is its embedding: the hidden state of CLS, the mean of those of its genes, or both, side by
    side."""
    residual_start: Literal["ordinary", "zero"] = "ordinary"
    """`zero`: the last linear layer of every residual branch starts at zero, so that a layer changes nothing at
    first."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on embedding, attention output and feed-forward during pretraining."""

    @property
    def features_a_head(self) -> int:
        """Random features of FAVOR+, M; int(E ln E) is performer-pytorch's own number for a head of width E."""
        return self.n_features or max(1, int(self.head_width * math.log(self.head_width)))

    @property
    def starts_at_mean(self) -> bool:
        """Whether CLS starts as the mean of the cell's visible genes."""
        return self.cls == "mean_of_tokens" or self.attention == "none"

    @property
    def embedding_width(self) -> int:
        """Numbers of a cell's embedding: D, or 2 D where it is CLS and mean."""
        return self.width * (2 if self.pooling == "both" else 1)
