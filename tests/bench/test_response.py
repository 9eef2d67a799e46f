import torch

from celllm.bench.methods.drug_cell_line import ResponseHead


def test_the_split_first_layer_equals_one_layer_on_both_embeddings_side_by_side():
    generator = torch.Generator().manual_seed(0)
    head = ResponseHead(4, 6, hidden=5).double().eval()
    cells, drugs = (torch.randn(3, width, generator=generator, dtype=torch.float64) for width in (4, 6))
    line, drug = torch.tensor([0, 2, 1, 0]), torch.tensor([1, 0, 2, 2])

    beside = torch.cat([head.cell(cells)[line], drugs[drug]], dim=1)
    weight = torch.cat([head.from_cell.weight, head.from_drug.weight], dim=1)
    expected = head.rest(beside @ weight.t() + head.from_cell.bias).squeeze(-1)

    torch.testing.assert_close(head(cells, drugs, line, drug), expected, rtol=1e-12, atol=1e-12)
