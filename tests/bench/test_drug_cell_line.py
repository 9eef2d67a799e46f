from dataclasses import replace

import numpy as np
import pytest
import torch

from celllm.base.errors import InputError
from celllm.bench.methods.drug_cell_line import EncoderResponse, _PairsByLine
from celllm.bench.methods.frozen import FrozenLayers
from celllm.model.store import load_encoder

QUICK = {"epochs": 25, "lines": 6, "learning_rate": 3e-3, "patience": 25}


def _method(encoder_file, vocabulary, **options):
    return EncoderResponse({**QUICK, **options}, seed=0, encoder=encoder_file, vocabulary=vocabulary)


@pytest.fixture
def divided(pairs):
    order = np.random.default_rng(2).permutation(len(pairs.line))
    return order[:66], order[66:75], order[75:]


@pytest.mark.parametrize("options", [{"pool": "mean"}, {"pool": "cls", "mode": "full"}, {"mode": "frozen"}])
def test_it_learns_the_drugs_and_comes_back_in_units_of_ln_ic50(encoder_file, vocabulary, pairs, divided, options):
    train, validation, test = divided
    pairs = replace(pairs, response=10 * pairs.response + 500)
    method = _method(encoder_file, vocabulary, **options)
    method.fit(pairs.hiding(test), train, validation)
    predicted = method.predict(pairs.hiding(test), test)

    truth = pairs.response[test]
    assert np.corrcoef(predicted, truth)[0, 1] > 0.5
    assert np.sqrt(np.mean((predicted - truth) ** 2)) < truth.std()


def test_a_prediction_depends_on_nothing_but_the_pair(encoder_file, vocabulary, pairs, divided):
    method = _method(encoder_file, vocabulary, epochs=1)
    method.fit(pairs, *divided[:2])
    together = method.predict(pairs, divided[2])

    np.testing.assert_allclose(method.predict(pairs, divided[2][::-1]), together[::-1], rtol=1e-4)
    np.testing.assert_allclose(method.predict(pairs, divided[2][:1]), together[:1], rtol=1e-4)


def test_both_the_line_and_the_drug_matter(encoder_file, vocabulary, pairs, divided):
    method = _method(encoder_file, vocabulary, epochs=2)
    method.fit(pairs, *divided[:2])
    predicted = method.predict(pairs, np.array([0, 1, 3]))  # line 0 with two drugs, line 1 with the first

    assert len(np.unique(predicted.round(4))) == 3


def test_every_training_pair_is_met_once_an_epoch_with_its_own_line_and_drug(encoder_file, vocabulary, pairs, divided):
    method = _method(encoder_file, vocabulary, epochs=1)
    seen = []
    original = torch.nn.functional.mse_loss

    def noting(answers, target):
        seen.extend((target * method._spread + method._mean).tolist())
        return original(answers, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("celllm.bench.methods.drug_cell_line.functional.mse_loss", noting)
        method.fit(pairs, *divided[:2])

    np.testing.assert_allclose(np.sort(seen), np.sort(pairs.response[divided[0]]), atol=1e-4)


def test_hidden_responses_do_not_matter(encoder_file, vocabulary, pairs, divided):
    def predicted(shown):
        method = _method(encoder_file, vocabulary, epochs=2)
        method.fit(shown, *divided[:2])
        return method.predict(shown, divided[2])

    np.testing.assert_array_equal(predicted(pairs), predicted(pairs.hiding(divided[2])))


def test_the_structure_of_a_drug_that_training_does_not_meet_changes_nothing_of_what_is_learned(
    encoder_file, vocabulary, pairs
):
    train, test = np.flatnonzero(pairs.drug != 2), np.flatnonzero(pairs.drug == 2)
    other = replace(pairs, smiles=[*pairs.smiles[:2], "OC(=O)c1ccccc1C(=O)Nc1ccncc1"])

    def predicted(shown):
        method = _method(encoder_file, vocabulary, epochs=2)
        method.fit(shown.hiding(test), train[:-9], train[-9:])
        return method.predict(shown, train), method.predict(shown, test)

    (known, new), (same, changed) = predicted(pairs), predicted(other)
    np.testing.assert_array_equal(known, same)
    assert not np.array_equal(new, changed)


def test_a_structure_that_cannot_be_read_names_the_drug(encoder_file, vocabulary, pairs, divided):
    broken = replace(pairs, smiles=["CCO", "C1CC(", "C"])

    with pytest.raises(InputError, match="caffeine"):
        _method(encoder_file, vocabulary).fit(broken, *divided[:2])


def test_a_task_without_training_pairs_is_refused(encoder_file, vocabulary, pairs, divided):
    with pytest.raises(InputError, match="training pairs"):
        _method(encoder_file, vocabulary).fit(pairs, divided[0][:0], divided[1])


def test_training_pairs_are_found_with_the_place_of_their_own_line(pairs, divided):
    train = divided[0]
    batches = _PairsByLine(pairs, train)
    at = np.array([5, 0, 17])

    rows, line_P = batches.of(at)

    np.testing.assert_array_equal(batches.lines[at][line_P], pairs.line[rows])
    wanted = train[np.isin(pairs.line[train], batches.lines[at])]
    np.testing.assert_array_equal(np.sort(rows), np.sort(wanted))


@pytest.fixture
def long_lines(pairs):
    """The same pairs with lines of 40 expressed genes, of which 23 fit."""
    positive = np.abs(pairs.expression.toarray()) + 0.01
    return replace(pairs, expression=type(pairs.expression)(positive))


def test_answers_of_several_subsets_are_averaged(encoder_file, vocabulary, long_lines, divided):
    method = _method(encoder_file, vocabulary, epochs=1, subsets=3)
    method.fit(long_lines, *divided[:2])
    averaged, single = method.predict(long_lines, divided[2]), []
    embedded = FrozenLayers.embedded
    for number in range(3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                FrozenLayers,
                "embedded",
                lambda self, rows, *, draw, pool, number=number: embedded(self, rows, draw=number, pool=pool),
            )
            single.append(method.predict(long_lines, divided[2]))

    np.testing.assert_allclose(averaged, np.mean(single, axis=0), rtol=1e-5)
    assert (single[0] != single[1]).any()


def test_subsets_change_nothing_for_lines_that_fit_whole(encoder_file, vocabulary, pairs, divided):
    few = replace(pairs, expression=pairs.expression.multiply(pairs.expression > 0.4).tocsr())
    assert np.diff(few.expression.indptr).max() <= 23
    predicted = []
    for subsets in (1, 4):
        method = _method(encoder_file, vocabulary, epochs=1, subsets=subsets)
        method.fit(few, *divided[:2])
        predicted.append(method.predict(few, divided[2]))

    np.testing.assert_array_equal(*predicted)


def test_truncation_to_the_top_ignores_what_is_expressed_least(encoder_file, vocabulary, long_lines, divided):
    # of 40 genes 23 fit; without the 17 least expressed of each line nothing may change
    dense = long_lines.expression.toarray()
    top = replace(long_lines, expression=type(long_lines.expression)(dense * (dense >= np.sort(dense)[:, [17]])))

    def predicted(shown, **options):
        method = _method(encoder_file, vocabulary, epochs=1, **options)
        method.fit(shown, *divided[:2])
        return method.predict(shown, divided[2])

    np.testing.assert_allclose(
        predicted(top, truncation="top_expressed"), predicted(long_lines, truncation="top_expressed"), rtol=1e-5
    )
    assert not np.allclose(predicted(top), predicted(long_lines), rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subsets": 0}, "at least 1"),
        ({"subsets": 3, "truncation": "top_expressed"}, "nothing is drawn at random"),
        ({"truncation": "top_expression"}, "did you mean top_expressed"),
    ],
    ids=["none", "not random", "misspelt"],
)
def test_options_on_truncation_that_mean_nothing_are_refused(encoder_file, vocabulary, options, message):
    with pytest.raises(InputError, match=message):
        _method(encoder_file, vocabulary, **options)


@pytest.mark.parametrize("options", [{"subsets": 3}, {"truncation": "head"}])
def test_an_encoder_whose_cells_are_never_cut_takes_no_option_on_truncation(
    encoder_file, vocabulary, monkeypatch, options
):
    pretrained = load_encoder(encoder_file, vocabulary=vocabulary.digest)
    tokens = pretrained.recipe.tokens.model_copy(update={"layout": "full"})
    full = replace(pretrained, recipe=pretrained.recipe.model_copy(update={"tokens": tokens}))
    monkeypatch.setattr("celllm.bench.methods.drug_cell_line.ready_encoder", lambda *_, **__: full)

    with pytest.raises(InputError, match="layout full"):
        _method(encoder_file, vocabulary, **options)


def test_constant_responses_stay_finite_and_near_the_constant(encoder_file, vocabulary, pairs, divided):
    constant = replace(pairs, response=np.full(90, -2.5))
    method = _method(encoder_file, vocabulary)
    method.fit(constant, *divided[:2])

    assert np.abs(method.predict(constant, divided[2]) + 2.5).max() < 0.5


def test_a_drug_that_was_never_met_is_answered_by_its_graph(encoder_file, vocabulary, pairs):
    train, test = np.flatnonzero(pairs.drug < 2), np.flatnonzero(pairs.drug == 2)
    method = _method(encoder_file, vocabulary, epochs=2)
    method.fit(pairs.hiding(test), train, test[:0])
    predicted = method.predict(pairs.hiding(test), test)
    other = method.predict(replace(pairs, smiles=[*pairs.smiles[:2], "ClCCCl"]), test)

    assert np.isfinite(predicted).all()
    assert (other != predicted).all()
