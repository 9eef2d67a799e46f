"""A GPU that is asked for is there, or the run does not begin."""

import pytest
import torch

from celllm.base.errors import InputError
from celllm.model.device import device_of
from celllm.pretrain.launch import launch


def test_a_gpu_that_is_not_there_is_refused_before_the_first_step(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto", threads=1) == "cpu"
    with pytest.raises(InputError, match="a GPU that torch sees"):
        device_of("cuda", threads=1)
    with pytest.raises(InputError, match="accelerator: cpu"):
        launch("32-true", accelerator="cuda", devices=1, nodes=1)
