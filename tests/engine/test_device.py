import pytest
import torch

from gancli.engine.device import pick_device
from gancli.errors import ConfigError


def test_auto_is_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("auto") == torch.device("cuda")


def test_a_device_may_be_given_as_torch_names_it():
    assert pick_device(torch.device("cpu")) == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(ConfigError, match="cuda:1 is not available"):
        pick_device("cuda:1")


def test_a_name_of_no_device_is_refused_with_the_names_of_devices():
    with pytest.raises(ConfigError, match="'gpu' is not a device") as refused:
        pick_device("gpu")
    assert "cuda:1" in refused.value.hint
