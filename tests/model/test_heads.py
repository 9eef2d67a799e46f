"""Heads put tokens where their genes are, and low-rank updates leave an encoder as it is until they are trained."""

from __future__ import annotations

import torch

from celllm.config.recipe_encoder import EncoderSettings
from celllm.model.encoder import Encoder
from celllm.model.heads import ClsHead, GeneScatterHead, MalignancyHead
from celllm.model.lora import add_low_rank

TOKENS = torch.tensor([[30, 1, 5, 7], [30, 2, 9, 31]]), torch.tensor([[6, 1, 2, 5], [6, 3, 1, 7]])


def scatter_head(number: float, **options: list[int]) -> GeneScatterHead:
    head = GeneScatterHead(4, 6, 3, **options).eval()
    torch.nn.init.constant_(head.to_number.weight, number)
    torch.nn.init.constant_(head.to_number.bias, min(number, 0))
    return head


def test_the_scatter_head_reads_each_token_at_its_genes_slot_in_any_order() -> None:
    head, hidden = scatter_head(1.0), torch.zeros(1, 4, 4)
    hidden[0, :, 0] = torch.tensor([5.0, 2.0, -3.0, 9.0])
    genes, order = torch.tensor([[6, 4, 1, 7]]), torch.tensor([3, 0, 2, 1])  # CLS, gene 4, gene 1, PAD
    expected = head.layers(torch.tensor([[0.0, -3, 0, 0, 2, 0, 5]]))
    torch.testing.assert_close(head(hidden, genes), expected)
    torch.testing.assert_close(head(hidden[:, order], genes[:, order]), expected)


def test_the_scatter_head_learns_also_where_every_number_starts_negative() -> None:
    head = scatter_head(-1.0)
    head(torch.ones(1, 4, 4), torch.tensor([[6, 0, 2, 3]])).square().sum().backward()
    assert head.to_number.weight.grad.abs().max() > 0


def test_a_panel_keeps_only_its_genes_and_cls() -> None:
    head, hidden = scatter_head(1.0, panel=[4, 2]), torch.randn(1, 4, 4)
    genes, changed = torch.tensor([[6, 2, 3, 4]]), hidden.clone()
    changed[0, 2] += 10  # gene 3 has no slot
    assert head.n_slots == 3
    assert torch.equal(head(hidden, genes), head(changed, genes))
    changed[0, 3] += 10
    assert not torch.equal(head(hidden, genes), head(changed, genes))


def test_the_cls_head_looks_at_the_first_token_alone() -> None:
    hidden = torch.randn(2, 5, 4)
    changed = hidden.clone()
    changed[:, 1:] = 0
    for head in (ClsHead(4, 3), ClsHead(4, 3, hidden=8)):
        assert torch.equal(head(hidden), head(changed))
        assert head(hidden).shape == (2, 3)
    assert MalignancyHead(4)(hidden[:, 0]).shape == (2,)


def encoder() -> Encoder:
    settings = EncoderSettings(width=16, depth=2, heads=2, head_width=8, dropout=0.0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return Encoder(settings, n_genes=30, gene_embedding=torch.randn(30, 16))


def test_low_rank_weights_alone_train_and_change_nothing_at_first() -> None:
    made = encoder()
    before = made(*TOKENS)
    added = add_low_rank(made, rank=3, alpha=6.0)
    assert torch.equal(made(*TOKENS), before)
    assert [weight for weight in made.parameters() if weight.requires_grad] == added
    made(*TOKENS).square().sum().backward()
    assert [bool(weight.grad.any()) for weight in added] == [weight.shape[0] != 3 for weight in added]  # up is zero
    for weight in added:
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    made(*TOKENS).square().sum().backward()
    assert all(weight.grad.any() for weight in added)


def test_a_trained_update_equals_a_weight_with_alpha_over_rank_times_up_times_down_added() -> None:
    made, merged = encoder(), encoder()
    added = add_low_rank(made, rank=3, alpha=6.0)
    for weight in added:
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(0))
    updates = iter(zip(added[::2], added[1::2], strict=True))
    with torch.no_grad():
        for layer in merged.layers:
            for linear in (layer.attention.to_qkv, layer.attention.to_out, layer.feedforward[0], layer.feedforward[2]):
                down_RI, up_OR = next(updates)
                linear.weight += 6.0 / 3 * up_OR @ down_RI
    assert next(updates, None) is None
    torch.testing.assert_close(made(*TOKENS)[0], merged(*TOKENS)[0])
    # the last layer for CLS alone reads the weight in another way
    torch.testing.assert_close(made.embed(*TOKENS), merged.embed(*TOKENS))
