"""GraphMAE: gene embeddings from a network, by hiding genes and predicting them from their neighbours.

Shapes: N genes of the graph, F width of their features, D of their embeddings, H hidden width.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional

from celllm.config.recipe_encoder import GeneSettings


def normalised_adjacency(a_E: Tensor, b_E: Tensor, n_genes: int) -> Tensor:
    """Return D^-1/2 (A + I) D^-1/2 of an undirected graph as a sparse CSR matrix (Kipf and Welling 2017)."""
    own = torch.arange(n_genes)
    rows, columns = torch.cat([a_E, b_E, own]), torch.cat([b_E, a_E, own])
    degree = torch.bincount(rows, minlength=n_genes).float()
    values = (degree[rows] * degree[columns]).rsqrt()
    shape = (n_genes, n_genes)
    matrix = torch.sparse_coo_tensor(torch.stack([rows, columns]), values, shape, check_invariants=True)
    with warnings.catch_warnings():  # "Sparse CSR tensor support is in beta state"
        warnings.filterwarnings("ignore", message="Sparse CSR", category=UserWarning)
        return matrix.coalesce().to_sparse_csr()  # type: ignore[no-any-return]


def neighbourhood_features(adjacency_NN: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Describe each gene by its neighbours: its row of the adjacency, projected at random to F numbers.

    A gene has no features of its own in a network, and a one-hot vector of N numbers is too long. The random
    projection keeps inner products of the rows (Johnson and Lindenstrauss): genes that share neighbours have similar
    features. Pure noise would not do, because nothing about a hidden gene could be told from its neighbours.
    Rows have unit root mean square.
    """
    noise_NF = torch.randn(len(adjacency_NN), width, generator=generator)
    return functional.normalize(adjacency_NN @ noise_NF, dim=-1) * width**0.5  # type: ignore[no-any-return]


def scaled_cosine_error(predicted_NF: Tensor, true_NF: Tensor, *, alpha: float) -> Tensor:
    """Return the mean of (1 - cosine)^alpha; a higher alpha cares less for what is nearly right."""
    cosine_N = functional.cosine_similarity(predicted_NF, true_NF, dim=-1)
    return (1 - cosine_N).clamp_min(0).pow(alpha).mean()


class GraphMAE(nn.Module):
    """Two graph convolutions encode, H wide between them, one decodes, with hidden genes masked before either.

    Hou et al. 2022, arXiv:2205.10803. GCN instead of the original's GAT: one sparse product a layer, so that a
    network of 20,000 genes trains on a CPU.
    """

    def __init__(self, width: int, hidden: int, *, feature_width: int | None = None) -> None:
        from torch_geometric.nn import GCNConv  # takes seconds to load, and no other method needs it

        super().__init__()
        n_features = feature_width or width
        self.first = GCNConv(n_features, hidden, normalize=False)
        self.activation = nn.PReLU()
        self.second = GCNConv(hidden, width, normalize=False)
        self.between = nn.Linear(width, width, bias=False)
        self.decoder = GCNConv(width, n_features, normalize=False)
        self.mask_token_F = nn.Parameter(torch.zeros(n_features))

    def encode(self, features_NF: Tensor, adjacency_NN: Tensor) -> Tensor:
        """Return embeddings N x D."""
        hidden_NH = self.activation(self.first(features_NF, adjacency_NN))
        return self.second(hidden_NH, adjacency_NN)  # type: ignore[no-any-return]

    def forward(self, features_NF: Tensor, adjacency_NN: Tensor, is_hidden_N: Tensor) -> Tensor:
        """Return predicted features N x F, seeing those of no hidden gene."""
        seen_NF = torch.where(is_hidden_N[:, None], self.mask_token_F, features_NF)
        code_ND = self.between(self.encode(seen_NF, adjacency_NN))
        # masked again: the decoder must tell a gene from its neighbours' codes
        code_ND = code_ND.masked_fill(is_hidden_N[:, None], 0.0)
        return self.decoder(code_ND, adjacency_NN)  # type: ignore[no-any-return]


def train_graphmae(
    adjacency_NN: Tensor,
    width: int,
    settings: GeneSettings,
    generator: torch.Generator,
) -> tuple[Tensor, list[float]]:
    """Train on the whole graph, one step an epoch; return its genes' embeddings N x D and the loss of each epoch.

    Genes are embedded with nothing hidden. Features, initial weights and masks come from the generator.
    """
    features_NF = neighbourhood_features(adjacency_NN, settings.feature_width or width, generator)
    model = _drawn(GraphMAE(width, settings.hidden, feature_width=settings.feature_width), generator)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    losses = []
    for _ in range(settings.epochs):
        is_hidden_N = torch.rand(len(features_NF), generator=generator) < settings.mask_rate
        predicted_NF = model(features_NF, adjacency_NN, is_hidden_N)
        loss = scaled_cosine_error(predicted_NF[is_hidden_N], features_NF[is_hidden_N], alpha=settings.alpha)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        return model.encode(features_NF, adjacency_NN), losses


def _drawn(model: GraphMAE, generator: torch.Generator) -> GraphMAE:
    """Draw all weight matrices from the generator, as torch_geometric would from torch's own."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter, generator=generator)
    return model
