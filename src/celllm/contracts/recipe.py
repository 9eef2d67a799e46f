"""`config/recipes/*.yaml`: one file a trained model; architecture, objectives, optimiser, training.

Every key of a recipe is declared here with its meaning and unit; an unknown key is refused.
Keys whose value the paper does not give are listed in the recipe's own `our_choices`.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from celllm.errors import InputError
from celllm.provenance import digest_of

Fraction = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenSettings(_Section):
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
    truncation: Literal["random_subset", "head", "top_expressed"] = "random_subset"
    """Which expressed genes stay when there are too many."""
    layout: Literal["nonzero", "full"] = "nonzero"
    """`nonzero`: expressed genes only (CellLM); `full`: every gene of a panel, silent ones as bin 0 (scBERT)."""
    panel_size: Annotated[int, Field(ge=1)] | None = None
    """For layout `full`: the number of genes, those of highest mean in the corpus; null: all that fit."""


class GeneSettings(_Section):
    """Where the frozen gene embedding comes from (paper section 6)."""

    method: Literal["graphmae", "svd", "gene2vec", "random", "learned", "imported"]
    """GraphMAE on the network; SVD of the network's adjacency; published gene vectors (scBERT's, of 200 numbers);
    frozen noise; trained with the encoder; frozen, and come with a published checkpoint (the command `import`)."""
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


class EncoderSettings(_Section):
    """The Performer (paper section 5)."""

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
    attention: Literal["favor", "softmax", "released"] = "favor"
    """`favor`: linear, the paper's; `softmax`: exact; `released`: the authors' code, in which a cell depends on its
    padding and its companions, for checkpoints that were trained so."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on embedding, attention output and feed-forward during pretraining."""


class MaskedSettings(_Section):
    """Masked expression (paper section 7)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the total loss; 0 switches it off."""
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of a cell's tokens to be predicted."""
    replace_share: Fraction = 0.9
    """Share of those that are replaced by MASK; the others stay as they are."""


class ContrastiveSettings(_Section):
    """InfoNCE between two dropout views, over the whole batch (paper section 7)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the total loss; 0 switches it off."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Divides the cosine similarities."""
    symmetric: bool = False
    """Mean of both directions instead of the first alone."""


class MalignancySettings(_Section):
    """Tumour or normal, from CLS (paper section 7)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the total loss; 0 switches it off."""


class ObjectiveSettings(_Section):
    """The three losses; each is a mean, the total their weighted sum."""

    masked: MaskedSettings = MaskedSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    malignancy: MalignancySettings = MalignancySettings()
    shared_masked_view: bool = False
    """Use the masked input for the contrastive views too, which saves one forward pass."""


class OptimiserSettings(_Section):
    """AdamW with linear warm-up and cosine decay."""

    name: Literal["adamw"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_fraction: Fraction = 0.01
    """Share of the steps in which the learning rate rises."""
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    """Learning rate of the last step."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""


class TrainingSettings(_Section):
    """How much is trained, and in which pieces."""

    batch_cells: Annotated[int, Field(ge=2)]
    """Cells in the contrastive batch, B."""
    chunk_tokens: Annotated[int, Field(ge=1)]
    """Tokens encoded at once, padding included: cells of similar length share a chunk. Sets the memory and, dropout
    aside, nothing else; a cell that is longer is a chunk of its own."""
    steps: Annotated[int, Field(ge=0)]
    """Optimiser steps; 0: the encoder stays as it is drawn, the control without pretraining."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: bool = False
    """Let torch.compile write kernels for the layers; needs a C++ compiler or a GPU."""
    validation_cells: Annotated[int, Field(ge=0)] = 0
    """Cells of the corpus that are never trained on, by which the best checkpoint is chosen; 0: none, and no best."""
    validate_every: Annotated[int, Field(ge=1)] = 100
    """Optimiser steps between two losses of these cells."""
    health_every: Annotated[int, Field(ge=1)] = 10
    """Optimiser steps between two looks at how spread out the embeddings are."""
    check_every: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps between two comparisons with the undivided step, which holds the graph of the whole batch; null:
    none."""
    redraw_every: Annotated[int, Field(ge=1)] = 100
    """Optimiser steps between two draws of the random features."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 100
    """Optimiser steps between two checkpoints."""
    keep_last: Annotated[int, Field(ge=1)] = 3
    """Checkpoints that are kept, besides the best."""
    log_every: Annotated[int, Field(ge=1)] = 10
    """Optimiser steps between two lines of the history."""


class Recipe(_Section):
    """Everything that makes a trained model, apart from the data and the seed."""

    tokens: TokenSettings
    genes: GeneSettings
    encoder: EncoderSettings
    objectives: ObjectiveSettings = ObjectiveSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    training: TrainingSettings
    our_choices: tuple[str, ...] = ()
    """Dotted keys whose value the paper does not give; the report prints them as our choice."""

    @property
    def digest(self) -> str:
        """Sha256 of the recipe's values in canonical form; comments and key order do not count."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def padded_length(self) -> int | None:
        """Tokens to which an encoder with attention `released` fills up each batch; None for every other."""
        return self.tokens.max_length if self.encoder.attention == "released" else None


def parse(values: dict[str, Any], *, file: Path | str) -> Recipe:
    """Check a recipe's values; `file` is named in errors.

    Raises
    ------
    InputError
        For an unknown or missing key, a value out of range, or an `our_choices` entry that is no key.
    """
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise _explained(error, file) from None
    known = _dotted(recipe.model_dump())
    for key in recipe.our_choices:
        if key not in known:
            raise InputError(
                file=file,
                field="our_choices",
                expected="dotted keys of this recipe, such as training.steps",
                found=repr(key),
                remedy=_suggestion(key, known),
            )
    return recipe


def read(path: Path | str) -> Recipe:
    """Read and check a recipe file; errors as in `parse`."""
    with Path(path).open(encoding="utf-8") as file:
        values = yaml.safe_load(file)
    if not isinstance(values, dict):
        raise InputError(
            file=path,
            field="(whole file)",
            expected="a mapping with tokens, genes, encoder, training",
            found=type(values).__name__,
            remedy="start from config/recipes/demo.yaml",
        )
    return parse(values, file=path)


def _dotted(values: dict[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in values.items():
        keys += _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return keys


def _explained(error: ValidationError, file: Path | str) -> InputError:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    field = ".".join(location)
    section: type[BaseModel] = Recipe
    for part in location[:-1]:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    known = list(section.model_fields)
    if first["type"] == "extra_forbidden":
        return InputError(
            file=file,
            field=field,
            expected=f"one of {', '.join(known)}",
            found="an unknown key",
            remedy=_suggestion(location[-1], known),
        )
    found = "nothing" if first["type"] == "missing" else repr(first.get("input"))
    return InputError(
        file=file,
        field=field,
        expected=first["msg"],
        found=found,
        remedy="correct the value; every key is explained in src/celllm/contracts/recipe.py",
    )


def _suggestion(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else "remove it"
