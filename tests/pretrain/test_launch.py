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


def test_one_process_in_an_allocation_of_several_tasks_is_alone(monkeypatch):
    for name, value in {"JOB_ID": 7, "NTASKS": 4, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "NODELIST": "n1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert launch("32-true", accelerator="cpu", devices=1, nodes=1).world_size == 1
