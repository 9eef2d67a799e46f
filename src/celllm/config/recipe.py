"""`config/recipes/*.yaml`: a trained model; architecture, objectives, optimiser, training.

Every key of a recipe is declared here or in `recipe_encoder` with its meaning and unit; an unknown key is refused. Keys
whose value the paper does not give are listed in `our_choices`. A recipe is a list of overlays, see
`celllm.config.overlays`; what is checked here is the whole of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import Field, ValidationError, model_validator

from celllm.base.errors import InputError
from celllm.base.provenance import digest_of
from celllm.config.explain import first_error, unknown
from celllm.config.overlays import IN_PLACE, OPERATIONAL, dotted, resolve
from celllm.config.recipe_encoder import EncoderSettings, GeneSettings, Section, TokenSettings

Fraction = Annotated[float, Field(ge=0, le=1)]
MAX_TOKENS = 2**31 - 1
"""More than any cell has."""


class MaskedSettings(Section):
    """Masked expression (paper section 7)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the total loss; 0 switches it off."""
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of a cell's tokens to be predicted."""
    replace_share: Fraction = 0.9
    """Share of those that are replaced by MASK; the others stay as they are."""


class ContrastiveSettings(Section):
    """InfoNCE between two views of a cell, over the whole batch (paper section 7)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the total loss; 0 switches it off."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Divides the cosine similarities."""
    symmetric: bool = False
    """Mean of both directions instead of the first alone."""
    projection: Literal["none", "mlp"] = "none"
    """`mlp`: two linear layers with a ReLU between, behind the cell's embedding and in this loss alone;
    the encoder is saved without them."""
    views: Literal["dropout", "mask", "subset", "thinning", "thinning_subset"] = "dropout"
    """In what two views of a cell differ, dropout aside. `dropout`: in nothing, the paper's; `mask`: in the bins that
    are hidden; `subset`: in the genes that are shown; `thinning`: in the molecules that were counted, as if the cell
    had been sequenced less deeply, to a depth of its own; `thinning_subset`: in both. Where genes or molecules differ,
    both views have the same number of tokens, so that length tells nothing."""
    view_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """`subset`: share of the expressed genes that a view shows; `mask`: share of the bins."""
    view_disjoint: bool = False
    """`subset`: no gene is in both views; each has at most one half of them."""
    view_min_depth: Annotated[float, Field(gt=0, le=1)] = 0.3
    """`thinning`: least share of a cell's molecules that a view keeps; each view draws its own between this and 1."""

    @property
    def has_subsets(self) -> bool:
        """Whether a view shows some genes only, drawn at random."""
        return self.views in ("subset", "thinning_subset")

    @property
    def has_thinning(self) -> bool:
        """Whether a view counts some molecules only."""
        return self.views in ("thinning", "thinning_subset")


class MalignancySettings(Section):
    """Tumour or normal, from CLS (paper section 7)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the total loss; 0 switches it off."""


class ObjectiveSettings(Section):
    """The three losses; each is a mean, the total their weighted sum."""

    masked: MaskedSettings = MaskedSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    malignancy: MalignancySettings = MalignancySettings()
    shared_masked_view: bool = False
    """Take the masked loss, and malignancy, from the first contrastive view, which saves a forward pass. With `views:
    dropout` both views hide the same bins then."""

    @model_validator(mode="after")
    def _something_is_learned(self) -> ObjectiveSettings:
        if not any(one.weight for one in (self.masked, self.contrastive, self.malignancy)):
            msg = "of the three weights one must be above 0; for an encoder that is not trained set training.steps to 0"
            raise ValueError(msg)
        return self


class RestartSettings(Section):
    """Cycles of the schedule `cosine_restarts`, in epochs of its own; defaults are scBERT's."""

    epoch_steps: Annotated[int, Field(ge=1)] = 1
    """Optimiser steps an epoch of the schedule, in which the learning rate stands still; 1: it moves every step."""
    first_cycle: Annotated[int, Field(ge=1)] = 15
    """Epochs of the first cycle, its warm-up included."""
    warmup: Annotated[int, Field(ge=0)] = 5
    """Epochs of each cycle in which the learning rate rises from its lowest value to the cycle's peak."""
    cycle_factor: Annotated[float, Field(ge=1)] = 2.0
    """How much longer than the last a cycle is, its warm-up left out."""
    peak_factor: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Peak of a cycle over that of the last."""

    @model_validator(mode="after")
    def _falls(self) -> RestartSettings:
        if self.warmup >= self.first_cycle:
            msg = "warmup must be shorter than first_cycle"
            raise ValueError(msg)
        return self


class OptimiserSettings(Section):
    """Adam, and a learning rate that rises and falls."""

    name: Literal["adamw", "adam"] = "adamw"
    """`adamw`: weights decay by themselves; `adam`: the decay is added to the gradient."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate."""
    gene_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of a trained gene embedding; null: that of all else. It rises and falls alike."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of matrices; biases and LayerNorms do not decay."""
    betas: tuple[float, float] = (0.9, 0.98)
    schedule: Literal["cosine", "cosine_restarts"] = "cosine"
    """`cosine`: linear warm-up, then one fall to the last step; `cosine_restarts`: cycles of both, scBERT's."""
    warmup_fraction: Fraction = 0.01
    """`cosine`: share of the steps in which the learning rate rises."""
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    """`cosine`: learning rate of the last step; `cosine_restarts`: the lowest, with which each cycle begins."""
    restarts: RestartSettings = RestartSettings()
    """For `cosine_restarts`."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""


class TrainingSettings(Section):
    """How much is trained, and in which pieces."""

    batch_cells: Annotated[int, Field(ge=2)]
    """Cells in the contrastive batch, B."""
    chunk_tokens: Annotated[int, Field(ge=1)]
    """Tokens encoded at once, padding included: cells of similar length share a chunk. Sets the memory and, dropout
    aside, nothing else; a cell that is longer is a chunk of its own."""
    keep_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens whose graphs are kept from the first pass of a contrastive step, at the cost of their memory, and need no
    second one; 0: those of one chunk. The gradient is the same."""
    batch_of: Literal["mixed", "dataset", "sample"] = "mixed"
    """Which cells share a batch: any, or those of one data set or sample, each in proportion to its cells; those with
    fewer cells than a batch share theirs."""
    steps: Annotated[int, Field(ge=0)]
    """Optimiser steps; 0: the encoder stays as it is drawn, the control without pretraining."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    validation_cells: Annotated[int, Field(ge=0)] = 0
    """Cells of the corpus that are never trained on; 0: none, and no best checkpoint by their loss."""
    validate_every: Annotated[int, Field(ge=1)] = 100
    """Optimiser steps between two losses of these cells."""
    probe_every: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps between two probes of the frozen embedding on the configuration's `probe`; null: none."""
    select: Literal["last", "best", "probe"] = "last"
    """Which checkpoint becomes the encoder: `best`, by the loss of validation cells; `probe`, by the probe's score."""
    health_every: Annotated[int, Field(ge=1)] = 10
    """Optimiser steps between two looks at how spread out the embeddings are."""
    check_every: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps between two comparisons with the full-batch step, which holds the graph of the whole batch; null:
    none."""
    redraw_every: Annotated[int, Field(ge=1)] = 100
    """Optimiser steps between two draws of the random features."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 100
    """Optimiser steps between two checkpoints."""
    keep_last: Annotated[int, Field(ge=1)] = 3
    """Checkpoints that are kept, besides the best."""
    log_every: Annotated[int, Field(ge=1)] = 10
    """Optimiser steps between two lines of the history."""

    @model_validator(mode="after")
    def _best_is_known(self) -> TrainingSettings:
        if self.select == "best" and self.validation_cells == 0:
            msg = "select: best needs validation_cells, by which the best checkpoint is chosen"
            raise ValueError(msg)
        if self.select == "probe" and self.probe_every is None:
            msg = "select: probe needs probe_every, steps between two probes"
            raise ValueError(msg)
        return self


class Recipe(Section):
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
        """Sha256 of the recipe's values in canonical form; comments, order and who chose a value do not count."""
        return digest_of(self.model_dump(mode="json", exclude={"our_choices"}))

    @property
    def science_digest(self) -> str:
        """Digest of the values that decide what is learned: a run may go on when only `OPERATIONAL` ones changed."""
        values = self.model_dump(mode="json", exclude={"our_choices"})
        for key in OPERATIONAL:
            section, _, name = key.partition(".")
            del values[section][name]
        return digest_of(values)

    @model_validator(mode="after")
    def _has_views(self) -> Recipe:
        contrastive = self.objectives.contrastive
        is_about_genes = contrastive.weight > 0 and contrastive.views not in ("dropout", "mask")
        if is_about_genes and self.tokens.layout == "full":
            msg = f"objectives.contrastive.views {contrastive.views} needs tokens.layout nonzero"
            raise ValueError(msg)
        return self

    @property
    def embedding_tokens(self) -> TokenSettings:
        """How cells become tokens where nothing is trained; attention `released` needs the length of training."""
        length = self.tokens.embed_length or MAX_TOKENS
        return self.tokens if self.padded_length else self.tokens.model_copy(update={"max_length": length})

    @property
    def padded_length(self) -> int | None:
        """Tokens to which an encoder with attention `released` fills up each batch; None for every other."""
        return self.tokens.max_length if self.encoder.attention == "released" else None


def parse(values: dict[str, Any], *, file: Path | str, file_of: Callable[[str], Path | str] | None = None) -> Recipe:
    """Check a recipe's values; `file_of` returns the file in which a dotted key stands, where that is not `file`.

    InputError for an unknown or missing key, a value out of range, or an `our_choices` entry that is no key.
    """
    where = file_of or (lambda _: file)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        remedy = "correct the value; every key is explained in src/celllm/config/recipe.py and recipe_encoder.py"
        raise first_error(error, Recipe, file=where(field), remedy=remedy) from None
    known = dotted(recipe.model_dump())
    for key in recipe.our_choices:
        if key not in known:
            expected = "dotted keys of this recipe, such as training.steps"
            raise unknown(key, known, file=where(f"our_choices.{key}"), field="our_choices", expected=expected)
    return recipe


def read(*overlays: Path | str | Mapping[str, Any]) -> Recipe:
    """Read recipe files, each laid over the ones before; errors as in `parse` and `overlays.resolve`."""
    files = [Path(overlay) if isinstance(overlay, str) else overlay for overlay in overlays]
    found = resolve(files)
    return parse(found.values, file=files[0] if isinstance(files[0], Path) else IN_PLACE, file_of=found.file_of)


def of_option(values: Sequence[str]) -> Recipe:
    """Read a recipe as a command line gives it: files, and values as JSON, each laid over the ones before."""
    overlays: list[Path | dict[str, Any]] = []
    for value in values:
        try:
            overlays.append(json.loads(value) if value.lstrip().startswith("{") else Path(value))
        except json.JSONDecodeError as error:
            raise InputError(
                file="--recipe",
                field="values in place",
                expected='a JSON object, such as {"training": {"steps": 5}}',
                found=f"{value[:200]}: {error}",
                remedy="put the object into single quotes, its keys and texts into double ones",
            ) from None
    return read(*overlays)


RecipeOption = Annotated[
    Recipe,
    Parameter(
        converter=lambda _type, tokens: of_option([token.value for token in tokens]),
        n_tokens=-1,
        accepts_keys=False,
        json_dict=False,
    ),
]
"""Type of a command's `--recipe`: files of config/recipes and JSON, each laid over the ones before."""
