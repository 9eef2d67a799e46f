"""Collapse, and depth in place of biology, are measured and told."""

import numpy as np
import pytest

from celllm.annotate.embed import described, quality

N, D = 400, 8


@pytest.mark.parametrize(
    ("view", "warned"),
    [
        pytest.param(lambda g, depths: g.normal(size=(N, D)), "", id="spread"),
        pytest.param(lambda g, depths: 1 + 0.01 * g.normal(size=(N, D)), "collapsed", id="collapsed"),
    ],
)
def test_what_is_wrong_with_an_embedding_is_said(generator, view, warned):
    depths = generator.lognormal(6, 1, N)
    found = quality(view(generator, depths).astype(np.float32), depths)
    first, *warnings = described(found)
    assert first.startswith("embedding: mean cosine")
    assert len(warnings) == bool(warned)
    assert warned in "".join(warnings)


def test_depth_in_an_embedding_is_measured(generator):
    depths = generator.lognormal(6, 1, N)
    view = np.column_stack([np.log1p(depths) - 6, generator.normal(size=(N, D - 1))])
    assert quality(view.astype(np.float32), depths)["r2_of_depth"] > 0.99


def test_depth_is_asked_of_cells_that_nothing_was_fitted_to(generator):
    found = quality(generator.normal(size=(60, 50)).astype(np.float32), generator.lognormal(6, 1, 60))
    assert found["r2_of_depth"] < 0.2
