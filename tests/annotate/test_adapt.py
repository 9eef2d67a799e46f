"""`celllm.adapt` goes on pretraining on one's own cells."""

import numpy as np
import pytest

import celllm
from celllm.annotate import folder as folders
from celllm.base.errors import InputError
from celllm.pretrain import history


def test_an_adapted_encoder_begins_with_the_weights_it_is_given_and_learns(tmp_path, own, folder, capsys):
    old = folder.pretrained.encoder.state_dict()

    def furthest(steps):
        made = celllm.adapt(own, tmp_path / f"{steps}", encoder=folder.path, steps=steps, labels="cell_type")
        new = folders.read(made).pretrained.encoder.state_dict()
        return max(float((new[name] - old[name]).abs().max()) for name in old if "projection" not in name)

    assert furthest(0) < 1e-3  # genes are rounded to float16 once more
    assert furthest(12) > 1e-5
    assert history.read(tmp_path / "12" / "history.jsonl")["step"].iloc[-1] == 12
    said = capsys.readouterr().out
    assert said.count("probe before: macro-F1") == said.count("probe after: macro-F1") == 2
    assert "+0.000 [+0.000, +0.000] macro-F1 by adapting" in said  # after no step
    assert "macro-F1 by adapting" in (tmp_path / "12" / "card.md").read_text()
    embedded = celllm.embed(own, encoder=tmp_path / "12").obsm["X_celllm"]
    assert np.isfinite(embedded).all()


@pytest.mark.parametrize(
    ("n_cells", "out", "seed", "said"),
    [(9, "out", 0, "at least 16 cells"), (90, "out", -1, "0 or more"), (90, "file", 0, "which is no folder")],
    ids=["a handful of cells", "seed", "a file for a folder"],
)
def test_what_cannot_be_adapted_is_refused_at_once(tmp_path, own, folder, n_cells, out, seed, said):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=said):
        celllm.adapt(own[:n_cells].copy(), tmp_path / out, encoder=folder.path, seed=seed)
    assert not (tmp_path / "out").exists()
