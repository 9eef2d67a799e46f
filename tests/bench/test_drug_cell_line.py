"""A pretrained encoder taught responses: its pairs, and what it shows of lines with more genes than fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from celllm.base.errors import InputError
from celllm.bench.methods.drug_cell_line import ResponseHead
from celllm.bench.methods.frozen import FrozenLayers
from celllm.model.store import load_encoder

BRIEF = {"epochs": 1, "lines": 6, "learning_rate": 3e-3}


@pytest.fixture
def long_lines(pairs):
    """The same pairs with lines of 40 expressed genes, of which 23 fit."""
    positive = np.abs(pairs.expression.toarray()) + 0.01
    return replace(pairs, expression=type(pairs.expression)(positive))


def test_answers_tell_lines_and_drugs_apart(answered, pairs, divided):
    predicted = answered("celllm_response", pairs, divided, **BRIEF | {"epochs": 12, "patience": 12})

    assert np.corrcoef(predicted, pairs.response[divided.test])[0, 1] > 0.5
    for names in (pairs.line, pairs.drug):  # answers differ where either does
        known = names[divided.test]
        assert all(len(set(predicted[known == name].round(4))) == np.sum(known == name) for name in set(known))


def test_answers_of_several_subsets_are_averaged(made, long_lines, divided, monkeypatch):
    method = made("celllm_response", **BRIEF, subsets=3)
    method.fit(long_lines, divided.train, divided.validation)
    averaged, single, embedded = method.predict(long_lines, divided.test), [], FrozenLayers.embedded
    for number in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(
                FrozenLayers,
                "embedded",
                lambda self, rows, *, draw, pool, number=number: embedded(self, rows, draw=number, pool=pool),
            )
            single.append(method.predict(long_lines, divided.test))

    np.testing.assert_allclose(averaged, np.mean(single, axis=0), rtol=1e-5)
    assert (single[0] != single[1]).any()


def test_truncation_to_the_top_ignores_what_is_expressed_least(answered, long_lines, divided):
    # of 40 genes 23 fit; without the 17 least expressed of each line nothing may change
    dense = long_lines.expression.toarray()
    top = replace(long_lines, expression=type(long_lines.expression)(dense * (dense >= np.sort(dense)[:, [17]])))
    same, other = (
        [answered("celllm_response", shown, divided, **BRIEF, truncation=rule) for shown in (top, long_lines)]
        for rule in ("top_expressed", None)
    )

    np.testing.assert_allclose(*same, rtol=1e-5)
    assert not np.allclose(*other, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"subsets": 0}, "at least 1", id="none"),
        pytest.param({"subsets": 3, "truncation": "top_expressed"}, "nothing is drawn at random", id="not random"),
        pytest.param({"truncation": "top_expression"}, "did you mean top_expressed", id="misspelt"),
    ],
)
def test_options_on_truncation_that_mean_nothing_are_refused(made, options, message):
    with pytest.raises(InputError, match=message):
        made("celllm_response", **options)


@pytest.mark.parametrize("options", [{"subsets": 3}, {"truncation": "head"}])
def test_an_encoder_whose_cells_are_never_cut_takes_no_option_on_truncation(
    encoder_file, vocabulary, made, monkeypatch, options
):
    pretrained = load_encoder(encoder_file, vocabulary=vocabulary.digest)
    tokens = pretrained.recipe.tokens.model_copy(update={"layout": "full"})
    full = replace(pretrained, recipe=pretrained.recipe.model_copy(update={"tokens": tokens}))
    monkeypatch.setattr("celllm.bench.methods.drug_cell_line.ready_encoder", lambda _: full)

    with pytest.raises(InputError, match="layout full"):
        made("celllm_response", **options)


def test_the_split_first_layer_equals_one_layer_on_both_embeddings_side_by_side():
    generator = torch.Generator().manual_seed(0)
    head = ResponseHead(4, 6, hidden=5).double().eval()
    cells, drugs = (torch.randn(3, width, generator=generator, dtype=torch.float64) for width in (4, 6))
    line, drug = torch.tensor([0, 2, 1, 0]), torch.tensor([1, 0, 2, 2])

    beside = torch.cat([head.cell(cells)[line], drugs[drug]], dim=1)
    weight = torch.cat([head.from_cell.weight, head.from_drug.weight], dim=1)
    expected = head.rest(beside @ weight.t() + head.from_cell.bias).squeeze(-1)

    torch.testing.assert_close(head(cells, drugs, line, drug), expected, rtol=1e-12, atol=1e-12)
