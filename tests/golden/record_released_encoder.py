"""Record what the encoders of the release answer, so that parity is tested where their code is not at hand.

    python tests/golden/record_released_encoder.py CHECKOUT

CHECKOUT is a copy of PharMolix/OpenBioMed (needs einops and local-attention besides torch); the answers go into
released_encoder.json beside this script. Weights and cells are drawn by the rules below, so that no weight is stored.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from celllm.model.imported import Sizes, shapes

RECORDED = Path(__file__).with_name("released_encoder.json")
SIZES = {
    "celllm": Sizes(
        width=32, kinds=8, rows=26, depth=2, heads=4, head_width=8, n_features=16, feedforward=128
    ),  # 24 genes
    "scbert": Sizes(
        width=20, kinds=7, rows=16, depth=2, heads=5, head_width=8, n_features=16, feedforward=80
    ),  # 15 genes
}
CLASSES = {"celllm": ("performer_celllm.py", "PerformerLM_CellLM"), "scbert": ("performer.py", "PerformerLM")}
MAX_LENGTH = 16
N_EXPRESSED = {"padded": (3, 9, 14, 1), "without_padding": (15, 15, 15), "truncated": (24, 18)}
"""Genes that the cells of each batch of layout celllm express; 15 and CLS fill a cell up."""


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of mean 0 and variance 1 that depend on the name alone."""
    generator = np.random.default_rng(list(name.encode()))
    return (2 * generator.random(shape) - 1) * 3**0.5


def drawn_weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of the authors' state dict, at a scale at which attention has something to choose from."""
    x = uniform(name, shape)
    if "norm.weight" in name:
        x = 1 + 0.2 * x
    elif name.endswith(".bias"):
        x = 0.1 * x
    elif "to_q" in name or "to_k" in name:
        x = 2 * x / shape[1] ** 0.5
    elif "emb" not in name and "projection" not in name:
        x = x / shape[1] ** 0.5
    return torch.from_numpy(x.astype(np.float32))


def drawn_state(layout: str, sizes: Sizes | None = None) -> dict[str, torch.Tensor]:
    """A whole state dict in the authors' layout."""
    state = {name: drawn_weight(name, shape) for name, shape in shapes(sizes or SIZES[layout]).items()}
    table = state["pos_emb.emb.weight"]
    table[-1] = 0.0  # PAD, or scBERT's token without a gene
    if layout == "celllm":
        table[-2] = 1.0  # CLS
    return state | {"performer.calls_since_last_redraw": torch.tensor(7)}


def drawn_levels(n_expressed: tuple[int, ...], n_genes: int) -> np.ndarray:
    """Cells x genes; log expression between 0 and 7 where a gene is expressed."""
    draws = [uniform(f"cell {i} of {len(n_expressed)}", (2, n_genes)) for i in range(len(n_expressed))]
    levels = np.array([3.5 + 2 * level for level, _ in draws], dtype=np.float32)
    for cell, (n, (_, order)) in enumerate(zip(n_expressed, draws, strict=True)):
        levels[cell, np.argsort(order)[n:]] = 0
    return levels


def batches(layout: str) -> dict[str, np.ndarray]:
    """Batches of a layout by name, as log expression."""
    n_genes = SIZES[layout].rows - (2 if layout == "celllm" else 1)
    if layout == "scbert":
        return {"whole": drawn_levels((4, 10, 15), n_genes)}
    return {name: drawn_levels(n_expressed, n_genes) for name, n_expressed in N_EXPRESSED.items()}


def authors_module(folder: Path, layout: str) -> ModuleType:
    """The authors' module from a checkout of the newer or the older arrangement."""
    paths = sorted(folder.rglob("performer_celllm.py"))
    if not paths:
        message = f"no performer_celllm.py below {folder}; give a copy of PharMolix/OpenBioMed"
        raise FileNotFoundError(message)
    spec = importlib.util.spec_from_file_location(f"authors_{layout}", paths[0].with_name(CLASSES[layout][0]))
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


def authors_encoder(
    folder: Path, layout: str, sizes: Sizes | None = None, *, max_length: int = MAX_LENGTH
) -> torch.nn.Module:
    """The authors' class at our sizes, with weights as it draws them, in evaluation mode."""
    sizes = sizes or SIZES[layout]
    n_genes = sizes.rows - (2 if layout == "celllm" else 1)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.save(Path(temporary) / "table.npy", np.zeros((n_genes, sizes.width), np.float32))
        made = getattr(authors_module(folder, layout), CLASSES[layout][1])(
            num_tokens=sizes.kinds,
            max_seq_len=max_length,
            dim=sizes.width,
            depth=sizes.depth,
            heads=sizes.heads,
            dim_head=sizes.head_width,
            gene2vec_path=str(Path(temporary) / "table.npy"),
            gene_num=n_genes,
        )
    return made.eval()


def authors_hidden(encoder: torch.nn.Module, layout: str, levels: np.ndarray) -> torch.Tensor:
    """Hidden states of all tokens, from log expression, prepared as the authors' featurizers do."""
    if layout == "celllm":
        found = encoder(torch.from_numpy(levels), return_encodings=True)
        return found[0] if isinstance(found, tuple) else found
    bins = torch.from_numpy(np.minimum(levels, 5)).long()
    return encoder(torch.cat([bins, torch.zeros_like(bins[:, :1])], dim=1), return_encodings=True)


def answers(folder: Path, layout: str) -> dict[str, dict[str, list]]:
    """Hidden states and logits of every batch."""
    encoder = authors_encoder(folder, layout)
    encoder.load_state_dict(drawn_state(layout))
    found = {}
    with torch.no_grad():
        for name, levels in batches(layout).items():
            hidden = authors_hidden(encoder, layout, levels)
            found[name] = {"hidden": rounded(hidden), "logits": rounded(encoder.to_out(hidden))}
    return found


def rounded(tensor: torch.Tensor) -> list:
    """Nested lists with nine digits, which hold a float32."""
    return json.loads(json.dumps(tensor.tolist()), parse_float=lambda text: float(f"{float(text):.9g}"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    answered = {layout: answers(Path(sys.argv[1]), layout) for layout in CLASSES}
    lines = [f'"{layout}": {json.dumps(found, separators=(",", ":"))}' for layout, found in answered.items()]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
