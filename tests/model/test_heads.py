"""Heads put tokens where their genes are."""

from __future__ import annotations

import torch

from celllm.model.heads import ClsHead, GeneScatterHead, MalignancyHead


def test_the_scatter_head_reads_each_token_at_its_genes_slot() -> None:
    head = GeneScatterHead(4, 6, 3).eval()
    with torch.no_grad():
        head.to_number.weight.fill_(1)
        head.to_number.bias.zero_()
    hidden = torch.zeros(1, 4, 4)
    hidden[0, :, 0] = torch.tensor([5.0, 2.0, -3.0, 9.0])
    genes = torch.tensor([[6, 4, 1, 7]])  # CLS, gene 4, gene 1, PAD
    axis = torch.tensor([[0.0, -3, 0, 0, 2, 0, 5]])
    torch.testing.assert_close(head(hidden, genes), head.layers(axis))


def test_the_scatter_head_learns_also_where_every_number_starts_negative() -> None:
    head = GeneScatterHead(4, 6, 3).eval()
    with torch.no_grad():
        head.to_number.weight.fill_(-1)
        head.to_number.bias.fill_(-1)
    head(torch.ones(1, 4, 4), torch.tensor([[6, 0, 2, 3]])).square().sum().backward()
    assert head.to_number.weight.grad is not None
    assert head.to_number.weight.grad.abs().max() > 0


def test_the_order_of_tokens_does_not_matter_to_the_scatter_head() -> None:
    head = GeneScatterHead(4, 6, 3).eval()
    hidden = torch.randn(2, 5, 4)
    genes = torch.tensor([[6, 0, 2, 3, 5], [6, 1, 2, 4, 7]])
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(head(hidden[:, order], genes[:, order]), head(hidden, genes))


def test_a_panel_keeps_only_its_genes_and_cls() -> None:
    head = GeneScatterHead(4, 6, 3, panel=[4, 2]).eval()
    hidden = torch.randn(1, 4, 4)
    genes = torch.tensor([[6, 2, 3, 4]])
    changed = hidden.clone()
    changed[0, 2] += 10  # gene 3 has no slot
    assert head.n_slots == 3
    assert torch.equal(head(hidden, genes), head(changed, genes))
    changed[0, 3] += 10
    assert not torch.equal(head(hidden, genes), head(changed, genes))


def test_the_cls_head_looks_at_the_first_token_alone() -> None:
    for head in (ClsHead(4, 3), ClsHead(4, 3, hidden=8)):
        hidden = torch.randn(2, 5, 4)
        changed = hidden.clone()
        changed[:, 1:] = 0
        assert torch.equal(head(hidden), head(changed))
        assert head(hidden).shape == (2, 3)
    assert MalignancyHead(4)(hidden[:, 0]).shape == (2,)
