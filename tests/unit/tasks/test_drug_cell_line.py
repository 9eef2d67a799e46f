from dataclasses import replace

import numpy as np
import pytest
import torch

from celllm.cells.tokens import PAD
from celllm.errors import InputError
from celllm.tasks.drug_cell_line import EncoderResponse, _PairsByLine

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
        patch.setattr("celllm.tasks.drug_cell_line.functional.mse_loss", noting)
        method.fit(pairs, *divided[:2])

    np.testing.assert_allclose(np.sort(seen), np.sort(pairs.response[divided[0]]), atol=1e-4)


def test_hidden_responses_do_not_matter(encoder_file, vocabulary, pairs, divided):
    def predicted(shown):
        method = _method(encoder_file, vocabulary, epochs=2)
        method.fit(shown, *divided[:2])
        return method.predict(shown, divided[2])

    np.testing.assert_array_equal(predicted(pairs), predicted(pairs.hiding(divided[2])))


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


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_padding_does_not_change_a_lines_embedding(encoder_file, vocabulary, pool):
    method = _method(encoder_file, vocabulary, pool=pool)
    genes, bins = torch.tensor([[40, 1, 2, 5]]), torch.tensor([[6, 3, 2, 5]])
    padding = torch.full((1, 7), PAD)

    embedded = method._embedded(genes, bins)
    padded = method._embedded(torch.cat([genes, torch.full((1, 7), 41)], dim=1), torch.cat([bins, padding], dim=1))

    torch.testing.assert_close(padded, embedded, atol=1e-6, rtol=1e-5)
