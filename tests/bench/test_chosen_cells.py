"""Cells chosen at random, and principal components."""

from scipy.sparse import csr_matrix

from celllm.bench.components import chosen_cells, principal_components


def test_a_small_set_is_drawn_whole_and_a_large_one_in_part():
    assert list(chosen_cells(4, seed=0, most=5)) == [0, 1, 2, 3]
    chosen = chosen_cells(100, seed=0, most=5)
    assert len(set(chosen)) == 5
    assert list(chosen) == sorted(chosen_cells(100, seed=0, most=5))


def test_principal_components_part_two_kinds_of_cell(generator):
    expression = generator.poisson(1.0, (30, 20)).astype(float)
    expression[:15, :10] += 8
    components = principal_components(csr_matrix(expression), seed=0)
    assert components.shape == (30, 19)
    assert components[:15, 0].min() > components[15:, 0].max() or components[:15, 0].max() < components[15:, 0].min()
