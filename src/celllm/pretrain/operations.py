"""What a step multiplies: the matrix products of the encoder, forwards and backwards, counted from the recipe.

Shapes: C cells of a chunk, L tokens of its longest cell, Q of them looked at in the last layer, D width, H heads, E
width of one head, M random features, F = E + 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celllm.config.recipe import EncoderSettings, ObjectiveSettings
from celllm.corpus.tokens import N_TOKENS
from celllm.model.attention import default_features
from celllm.pretrain.chunks import Rows


class Product(NamedTuple):
    """`n` products of rows x inner and inner x columns, of one cell."""

    n: int
    rows: int
    inner: int
    columns: int
    turned: Literal["", "first", "second"] = ""
    """Which factor lies in memory the other way round."""
    is_again: bool = False
    """Made a second time, because keeping it takes more memory than making it."""
    in_float32: bool = False
    """In float32 whatever the precision of training."""

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * self.n * self.rows * self.inner * self.columns


class Work(NamedTuple):
    """Floating-point operations."""

    mixed: int = 0
    """In the precision of training."""
    float32: int = 0
    """In float32 whatever the precision of training: FAVOR+, whose exponentials lose too much in 16 bits."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.mixed + self.float32

    def times(self, n: int) -> Work:
        """Return the work of doing it n times."""
        return Work(self.mixed * n, self.float32 * n)

    def plus(self, other: Work) -> Work:
        """Return the work of both."""
        return Work(self.mixed + other.mixed, self.float32 + other.float32)


def forwards(settings: EncoderSettings, length: int, queries: int) -> list[Product]:
    """List the products that encode one cell of `length` tokens, of which the last layer looks at `queries`."""
    n_layers = settings.depth - 1
    return _layer_forwards(settings, length, length) * n_layers + _layer_forwards(settings, length, queries)


def backwards(settings: EncoderSettings, length: int, queries: int) -> list[Product]:
    """List the products of the gradient of `forwards`, those that FAVOR+ makes again among them.

    Everything is trained but the random features; the lowest layer passes its gradient on, to the expression embedding.
    """
    n_layers = settings.depth - 1
    return _layer_backwards(settings, length, length) * n_layers + _layer_backwards(settings, length, queries)


def work_of(products: Iterable[Product]) -> Work:
    """Count operations."""
    mixed = float32 = 0
    for product in products:
        if product.in_float32:
            float32 += product.operations
        else:
            mixed += product.operations
    return Work(mixed, float32)


def _linear(settings: EncoderSettings, length: int, queries: int) -> list[Product]:
    width, inner = settings.width, settings.heads * settings.head_width
    hidden = settings.feedforward_factor * width
    return [
        Product(1, length, width, 2 * inner),
        Product(1, queries, width, inner),
        Product(1, queries, inner, width),
        Product(1, queries, width, hidden),
        Product(1, queries, hidden, width),
    ]


def _layer_forwards(settings: EncoderSettings, length: int, queries: int) -> list[Product]:
    heads, e = settings.heads, settings.head_width
    linear = _linear(settings, length, queries)
    if settings.attention == "softmax":
        return [*linear, Product(heads, queries, e, length, "second"), Product(heads, queries, length, e)]
    m, f = settings.n_features or default_features(e), e + 1
    return [
        *linear,
        Product(heads, length, e, m, in_float32=True),
        Product(heads, m, length, f, "first", in_float32=True),
        Product(heads, queries, e, m, in_float32=True),
        Product(heads, queries, m, f, in_float32=True),
    ]


def _layer_backwards(settings: EncoderSettings, length: int, queries: int) -> list[Product]:
    heads, e = settings.heads, settings.head_width
    gradients = []
    for n, rows, inner, columns, *_ in _linear(settings, length, queries):
        gradients += [Product(n, rows, columns, inner, "second"), Product(n, inner, rows, columns, "first")]
    if settings.attention == "softmax":  # the fused kernel makes the scores again
        return [
            *gradients,
            Product(heads, queries, e, length, "second", is_again=True),
            Product(heads, length, queries, e, "first"),
            Product(heads, queries, e, length, "second"),
            Product(heads, queries, length, e),
            Product(heads, length, queries, e, "first"),
        ]
    m, f = settings.n_features or default_features(e), e + 1
    return [
        *gradients,
        Product(heads, queries, f, m, is_again=True, in_float32=True),
        Product(heads, m, queries, f, "first", in_float32=True),
        Product(heads, queries, f, m, "second", in_float32=True),
        Product(heads, queries, m, f, "second", in_float32=True),
        Product(heads, length, f, m, is_again=True, in_float32=True),
        Product(heads, length, m, f, in_float32=True),
        Product(heads, length, f, m, "second", in_float32=True),
        Product(heads, length, m, e, "second", in_float32=True),
    ]


class Passes(NamedTuple):
    """How often the cells of a step go through the encoder; see `passes_of`."""

    forwards_cls: int
    """Forwards, CLS alone looked at."""
    backwards_cls: int
    """Their gradients."""
    forwards_masked: int
    """Forwards of the masked input, CLS and the hidden tokens looked at."""
    backwards_masked: int
    """Their gradients."""
    n_views: int
    """Embeddings of a cell that the contrastive loss compares; 0 without it."""

    @property
    def n_kept(self) -> int:
        """Forwards of the last chunk that are not made, because its graph is kept from the first pass."""
        return min(self.n_views, 1)


def passes_of(settings: ObjectiveSettings) -> Passes:
    """Say how often a step encodes its cells, as `train.step.StepLoss` does.

    A contrastive view goes forwards twice and backwards once; where backwards costs two forwards, these are 4
    forward-equivalents, less the chunk that is kept. The masked input costs 3; with `shared_masked_view` it is one of
    the two views.
    """
    has_own_loss = settings.masked.weight > 0 or settings.malignancy.weight > 0
    if settings.contrastive.weight == 0:
        return Passes(0, 0, 1, 1, n_views=0)
    if settings.shared_masked_view:
        return Passes(2, 1, 2, 1, n_views=2)
    return Passes(4, 2, int(has_own_loss), int(has_own_loss), n_views=2)


class Shape(NamedTuple):
    """A chunk as the encoder sees it."""

    n_cells: int
    length: int
    """Tokens of the longest cell, to which the others are padded."""
    queries: int
    """Places looked at in the masked input: CLS, and the most hidden tokens of any cell."""
    n_targets: int
    """Hidden tokens of all its cells."""

    @property
    def tokens(self) -> int:
        """Tokens encoded, padding included."""
        return self.n_cells * self.length


def shapes_of(lengths_B: ArrayLike, targets_B: ArrayLike, chunks: Sequence[Rows]) -> list[Shape]:
    """Return the shapes of chunks, from the tokens and the hidden tokens of each cell."""
    lengths, targets = np.asarray(lengths_B), np.asarray(targets_B)
    return [
        Shape(len(lengths[rows]), int(lengths[rows].max()), 1 + int(targets[rows].max()), int(targets[rows].sum()))
        for rows in chunks
    ]


def drawn_targets(candidates_B: NDArray[np.int64], rate: float, *, seed: int = 0) -> NDArray[np.int64]:
    """Draw how many tokens of each cell are hidden, each of its candidates with probability `rate`."""
    return np.random.default_rng([seed, 3]).binomial(candidates_B, rate)


def step_work(settings: EncoderSettings, objectives: ObjectiveSettings, shapes: Sequence[Shape]) -> Work:
    """Count the operations of a step over these chunks, the heads included and the loss over embeddings not."""
    passes = passes_of(objectives)
    total = Work()
    for number, (n_cells, length, queries, n_targets) in enumerate(shapes):
        n_cls = passes.forwards_cls - (passes.n_kept if number == len(shapes) - 1 else 0)
        of_one = (
            _encoding(settings, length, 1, is_back=False).times(n_cls),
            _encoding(settings, length, 1, is_back=True).times(passes.backwards_cls),
            _encoding(settings, length, queries, is_back=False).times(passes.forwards_masked),
            _encoding(settings, length, queries, is_back=True).times(passes.backwards_masked),
        )
        for work in of_one:
            total = total.plus(work.times(n_cells))
        outputs = n_targets * N_TOKENS if objectives.masked.weight > 0 else 0
        outputs += n_cells if objectives.malignancy.weight > 0 else 0
        total = total.plus(Work(mixed=3 * 2 * settings.width * outputs))
    return total


@lru_cache(maxsize=1 << 16)
def _encoding(settings: EncoderSettings, length: int, queries: int, *, is_back: bool) -> Work:
    """Count the operations of `forwards` or `backwards`; layers but the last are alike."""
    layer = _layer_backwards if is_back else _layer_forwards
    of_each = work_of(layer(settings, length, length))
    return of_each.times(settings.depth - 1).plus(work_of(layer(settings, length, queries)))


def loss_work(settings: EncoderSettings, objectives: ObjectiveSettings, n_cells: int) -> Work:
    """Count the operations of InfoNCE over all embeddings and of its gradient; every rank makes all of them."""
    if objectives.contrastive.weight == 0:
        return Work()
    n_products = 4 if objectives.contrastive.symmetric else 3
    return Work(float32=n_products * 2 * n_cells**2 * settings.width)
