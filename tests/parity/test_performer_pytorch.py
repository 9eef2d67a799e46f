"""Attention `favor` is performer-pytorch 1.1.4's, as long as no key is padding and epsilon is 0 in both.

Theirs stabilises by the largest projection and ours by the largest exponent, which cancels but for epsilon. Theirs
hides the value of a padded key and leaves the key in the denominator and in the stabiliser, so there a cell's output
depends on its padding.
"""

from __future__ import annotations

import sys
import warnings

import pytest
import torch

from celllm.config.recipe_encoder import EncoderSettings
from celllm.model.attention import Attention, orthogonal_features
from celllm.model.encoder import Encoder
from celllm.model.favor import favor_attention
from celllm.model.released import released_attention

with warnings.catch_warnings():
    # it asks distutils for torch's version
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    performer_pytorch = pytest.importorskip("performer_pytorch")

SETTINGS = EncoderSettings(width=48, depth=3, heads=4, head_width=16, dropout=0.0)
SCALE = 0.7
"""Of queries and keys. Much smaller ones weigh all keys alike, and so do much larger ones, where epsilon wins."""
PRECISIONS = [pytest.param(torch.float32, 1e-5, id="single"), pytest.param(torch.float64, 1e-12, id="double")]


@pytest.fixture
def without_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stabilisers cancel."""
    monkeypatch.setattr("celllm.model.favor.KERNEL_EPSILON", 0.0)
    module = sys.modules[performer_pytorch.FastAttention.__module__]
    monkeypatch.setitem(module.softmax_kernel.__kwdefaults__, "eps", 0.0)


def fast_attention(features_ME: torch.Tensor) -> torch.nn.Module:
    n_features, head_width = features_ME.shape
    made = performer_pytorch.FastAttention(head_width, nb_features=n_features).to(features_ME.dtype)
    made.projection_matrix.copy_(features_ME)
    return made


def copy_attention(ours: Attention, theirs: torch.nn.Module) -> None:
    state = {f"to_{x}.weight": weight for x, weight in zip("qkv", ours.to_qkv.weight.chunk(3), strict=True)}
    state |= {f"to_out.{name}": tensor for name, tensor in ours.to_out.state_dict().items()}
    theirs.load_state_dict(state | {"fast_attention.projection_matrix": ours.features_ME})


@torch.no_grad()
def encoder() -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        made = Encoder(SETTINGS, n_genes=50, gene_embedding=torch.randn(50, SETTINGS.width))
        for layer in made.layers:
            layer.attention.to_qkv.weight.mul_(1.3)  # queries and keys then have SCALE, too
        return made.eval().requires_grad_(False)


def performer(ours: Encoder) -> torch.nn.Module:
    """Their Performer with our weights."""
    made = performer_pytorch.Performer(
        dim=SETTINGS.width,
        depth=SETTINGS.depth,
        heads=SETTINGS.heads,
        dim_head=SETTINGS.head_width,
        qkv_bias=False,
    )
    for layer, (attention, feedforward) in zip(ours.layers, made.net.layers, strict=True):
        attention.norm.load_state_dict(layer.attention_norm.state_dict())
        copy_attention(layer.attention, attention.fn)
        feedforward.norm.load_state_dict(layer.feedforward_norm.state_dict())
        feedforward.fn.fn.w1.load_state_dict(layer.feedforward[0].state_dict())
        feedforward.fn.fn.w2.load_state_dict(layer.feedforward[2].state_dict())
    return made.eval().to(ours.norm.weight.dtype)


def layered(ours: Encoder, x_BLD: torch.Tensor, is_pad_BL: torch.Tensor | None = None) -> torch.Tensor:
    for layer in ours.layers:
        x_BLD = layer(x_BLD, is_pad_BL)
    return x_BLD


def drawn(*shape: int, dtype: torch.dtype, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.usefixtures("without_epsilon")
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("head_width", [16, 64])
def test_fast_attention_agrees(dtype: torch.dtype, tolerance: float, head_width: int) -> None:
    features = orthogonal_features(100, head_width, torch.Generator().manual_seed(2)).to(dtype)
    q, k, v = (SCALE * drawn(3, 4, 40, head_width, dtype=dtype, seed=seed) for seed in (1, 2, 3))
    expected = fast_attention(features)(q, k, v)
    torch.testing.assert_close(favor_attention(q, k, v, features), expected, atol=tolerance, rtol=0)


@pytest.mark.usefixtures("without_epsilon")
def test_fast_attention_has_the_same_gradient() -> None:
    features = orthogonal_features(44, 16, torch.Generator().manual_seed(2)).double()
    inputs = [(SCALE * drawn(2, 3, 20, 16, dtype=torch.float64, seed=seed)).requires_grad_() for seed in (1, 2, 3)]
    pull = drawn(2, 3, 20, 16, dtype=torch.float64, seed=4)
    found = torch.autograd.grad((favor_attention(*inputs, features) * pull).sum(), inputs)
    expected = torch.autograd.grad((fast_attention(features)(*inputs) * pull).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-11)


@pytest.mark.usefixtures("without_epsilon")
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_a_whole_performer_agrees(dtype: torch.dtype, tolerance: float) -> None:
    ours = encoder().to(dtype)
    x = drawn(3, 30, SETTINGS.width, dtype=dtype)
    torch.testing.assert_close(layered(ours, x), performer(ours)(x), atol=tolerance, rtol=0)


@pytest.mark.usefixtures("without_epsilon")
def test_on_padded_cells_ours_gives_what_theirs_gives_without_the_padding() -> None:
    ours = encoder().double()
    theirs = performer(ours)
    x, lengths = drawn(3, 30, SETTINGS.width, dtype=torch.float64), (30, 12, 20)
    is_pad = torch.arange(30) >= torch.tensor(lengths)[:, None]
    found = layered(ours, x, is_pad)
    padded = theirs(x, mask=~is_pad)
    for cell, n in enumerate(lengths):
        bare = theirs(x[cell : cell + 1, :n])[0]
        torch.testing.assert_close(found[cell, :n], bare, atol=1e-12, rtol=0)
        assert ((padded[cell, :n] - bare).abs().max() > 0.05) == (n < 30)


def test_on_a_padded_cell_released_is_theirs_for_one_cell_and_head() -> None:
    # with more of them the stabiliser differs: the authors' release has an older kernel, with one maximum for all
    features = orthogonal_features(44, 16, torch.Generator().manual_seed(2)).double()
    q, k, v = (SCALE * drawn(1, 1, 20, 16, dtype=torch.float64, seed=seed) for seed in (1, 2, 3))
    is_pad = torch.arange(20)[None] >= 13
    masked = v.masked_fill(is_pad[:, None, :, None], 0)  # as their Attention does
    expected = fast_attention(features)(q, k, masked)
    torch.testing.assert_close(released_attention(q, k, v, features, is_pad), expected, atol=1e-13, rtol=0)

    q, k, v = (SCALE * drawn(2, 2, 20, 16, dtype=torch.float64, seed=seed) for seed in (1, 2, 3))
    k[0] *= 2
    apart = released_attention(q, k, v, features) - fast_attention(features)(q, k, v)
    assert apart.abs().max() > 1e-3
