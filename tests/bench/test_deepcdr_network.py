"""DeepCDR's network: its sizes, its graph convolution, and what a drug's vector hangs on."""

import numpy as np
import torch

from celllm.bench.methods.deepcdr import DeepCDR
from celllm.bench.methods.drugs import N_ATOM_FEATURES, drug_graphs
from celllm.model.encoder import evaluating

SMILES = ["CC(=O)OC1=CC=CC=C1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C"]


def _made(n_genes=5):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2)
        return DeepCDR(n_genes)


def test_it_has_as_many_weights_as_the_papers_sizes_ask_for():
    graph = (N_ATOM_FEATURES + 1) * 256 + 2 * 257 * 256 + 257 * 100 + 2 * (3 * 256 + 100)
    expression = (697 + 1) * 256 + 2 * 256 + 257 * 100
    joined = 201 * 300 + (150 + 1) * 30 + (30 * 5 + 1) * 10 + (10 * 5 + 1) * 5 + 31

    assert sum(weight.numel() for weight in DeepCDR(697).parameters()) == graph + expression + joined


def test_a_convolution_is_the_normalised_adjacency_times_features_times_weights():
    model, graphs = _made(), drug_graphs(["a"], SMILES[:1])
    n_atoms = len(graphs.x)
    adjacency = torch.eye(n_atoms)
    adjacency[graphs.edge_index[0], graphs.edge_index[1]] = 1
    root = adjacency.sum(dim=1).rsqrt()
    normalised = root[:, None] * adjacency * root[None, :]
    hidden = graphs.x
    with evaluating(model):
        for layer in model.graph:
            hidden = layer.norm((normalised @ hidden @ layer.convolution.lin.weight.T + layer.convolution.bias).relu())

        torch.testing.assert_close(model.drugs(graphs), hidden.amax(dim=0, keepdim=True), atol=1e-5, rtol=1e-4)


def test_a_pair_does_not_hang_on_the_other_drugs_and_lines():
    model, genes = _made(), torch.from_numpy(np.random.default_rng(0).normal(size=(4, 5))).float()
    with evaluating(model):
        together = model(genes, model.drugs(drug_graphs(list("abc"), SMILES)), torch.tensor([0, 1, 2, 0]))
        alone = model(genes[2:3], model.drugs(drug_graphs(["c"], SMILES[2:])), torch.tensor([0]))

    torch.testing.assert_close(alone, together[2:3], atol=1e-5, rtol=1e-4)
    assert len(set(together.tolist())) == 4
