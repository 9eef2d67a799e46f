import torch

from celllm.config.recipe_encoder import EncoderSettings
from celllm.model.encoder import Encoder
from celllm.model.lora import add_low_rank

GENES_BL = torch.tensor([[30, 1, 5, 7], [30, 2, 9, 31]])
BINS_BL = torch.tensor([[6, 1, 2, 5], [6, 3, 1, 7]])


def _encoder(**changes):
    settings = EncoderSettings(width=16, depth=2, heads=2, head_width=8, dropout=0.0, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return Encoder(settings, n_genes=30, gene_embedding=torch.randn(30, 16))


def test_at_the_start_outputs_are_the_same():
    encoder = _encoder()
    before = encoder(GENES_BL, BINS_BL), encoder.embed(GENES_BL, BINS_BL)

    add_low_rank(encoder, rank=3, alpha=6.0)

    assert torch.equal(encoder(GENES_BL, BINS_BL), before[0])
    assert torch.equal(encoder.embed(GENES_BL, BINS_BL), before[1])


def test_only_the_low_rank_weights_train_and_each_of_them_gets_a_gradient_once_up_is_not_zero():
    encoder = _encoder()
    added = add_low_rank(encoder, rank=3, alpha=6.0)

    assert [weight for weight in encoder.parameters() if weight.requires_grad] == added
    encoder(GENES_BL, BINS_BL).square().sum().backward()
    assert [bool(weight.grad.any()) for weight in added] == [weight.shape[0] != 3 for weight in added]

    for weight in added:
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    encoder(GENES_BL, BINS_BL).square().sum().backward()
    assert all(weight.grad.any() for weight in added)


def test_a_trained_update_equals_a_weight_with_alpha_over_rank_times_up_times_down_added():
    encoder, merged = _encoder(), _encoder()
    added = add_low_rank(encoder, rank=3, alpha=6.0)
    for weight in added:
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(0))
    updates = iter(zip(added[::2], added[1::2], strict=True))
    with torch.no_grad():
        for layer in merged.layers:
            for linear in (layer.attention.to_qkv, layer.attention.to_out, layer.feedforward[0], layer.feedforward[2]):
                down_RI, up_OR = next(updates)
                linear.weight += 6.0 / 3 * up_OR @ down_RI

    assert next(updates, None) is None
    torch.testing.assert_close(encoder(GENES_BL, BINS_BL)[0], merged(GENES_BL, BINS_BL)[0])
    # the last layer for CLS alone reads the weight in another way
    torch.testing.assert_close(encoder.embed(GENES_BL, BINS_BL), merged.embed(GENES_BL, BINS_BL))
