"""`train.compile` in the engine: compiled networks, samples, files, and messages of failures."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
import torch._dynamo.exc
import torch._inductor.config
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from toy import Toy, toy_loop

from gancli.engine import compiling
from gancli.engine.checkpoint import RunFolder
from gancli.errors import ConfigError, RunError
from tests.compiler import needs_compiler


@pytest.fixture(autouse=True)
def fresh_graphs() -> None:
    torch._dynamo.reset()


def by_backend(monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    """Compile networks with another backend than torch's own, whose C++ takes long to compile."""
    compile_network = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(compile_network, backend=backend))


def state(model: Toy) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor.clone()
        for name, network in model.networks.items()
        for key, tensor in network.state_dict().items()
    }


@needs_compiler
@pytest.mark.slow
def test_compiled_steps_are_the_plain_ones_and_resume_exactly(tmp_path: Path) -> None:
    """Torch's own backend draws other dropout masks unless it is told to draw the uncompiled ones."""
    plain, compiled, resumed = Toy(), Toy(), Toy()
    toy_loop(RunFolder.create(tmp_path, "plain"), plain, steps=4).run()
    broken = RunFolder.create(tmp_path, "broken")
    with torch._inductor.config.patch(fallback_random=True):
        toy_loop(RunFolder.create(tmp_path, "straight"), compiled, steps=4, compile=True).run()
    for name, tensor in state(plain).items():
        torch.testing.assert_close(state(compiled)[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    torch._dynamo.reset()
    with torch._inductor.config.patch(fallback_random=True):
        toy_loop(broken, Toy(), steps=2, compile=True).run()
        torch._dynamo.reset()  # as in a new process
        toy_loop(broken, resumed, steps=4, compile=True).run()
    assert all(torch.equal(tensor, state(compiled)[name]) for name, tensor in state(resumed).items())


def test_nobody_who_looks_sees_a_compiled_network(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grids, metrics and exports, which have other batch sizes, run uncompiled; files have the usual tensor names."""
    graphs: list[int] = []

    def count(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(1)
        return graph.forward

    by_backend(monkeypatch, count)
    batch = 3

    def look(networks: Mapping[str, nn.Module], *_: Any) -> Image.Image:
        nonlocal batch
        batch += 1
        before = len(graphs)
        networks["discriminator"](networks["generator"](torch.randn(batch, 5)))
        assert len(graphs) == before
        return Image.new("RGB", (4, 4))

    seen: list[set[str]] = []

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int) -> None:
        look(networks)
        seen.append(set(networks["generator"].state_dict()))

    model = Toy()
    toy_loop(
        run, model, compile=True, ema_decay=None, sample=look, sample_every=2, export=export, steps=4
    ).run()
    assert graphs
    assert len(list(run.samples.iterdir())) == 3  # a failing grid would be none
    names = set(Toy().generator.state_dict())
    assert seen == [names]
    checkpoint = load_file(run.checkpoints / "step-00000004" / "networks.safetensors")
    assert set(checkpoint) == set(state(Toy()))


def test_a_network_that_is_differentiated_twice_stays_uncompiled(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_backend(monkeypatch, "aot_eager")
    model = Toy()
    terms = model.phases[0].loss

    def penalised(shared: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images = shared[0].detach().requires_grad_()
        (slope,) = torch.autograd.grad(model.discriminator(images).sum(), images, create_graph=True)
        return {**terms(shared), "penalty": slope.square().sum()}

    model.phases[0].loss = penalised
    model.phases[0].differentiated_twice = ("discriminator",)
    toy_loop(run, model, compile=True, steps=2).run()
    assert model.generator._compiled_call_impl is not None
    assert model.discriminator._compiled_call_impl is None


class Judges(Toy):
    """Model with discriminators of many depths, all of one class."""

    class Judge(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(depth)))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x).mean()

    def __init__(self) -> None:
        super().__init__()
        self.judges = [self.Judge(depth) for depth in range(1, 7)]
        self.networks |= {f"judge-{depth}": judge for depth, judge in enumerate(self.judges)}

    def generator_terms(self, shared: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {str(number): judge(shared[1]) for number, judge in enumerate(self.judges)}

    def discriminator_terms(self, shared: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        judged = {
            str(number): judge(shared[0]) - judge(shared[1].detach())
            for number, judge in enumerate(self.judges)
        }
        return super().discriminator_terms(shared) | judged


def judges(folder: Path) -> Judges:
    model = Judges()
    parameters = [p for judge in model.judges for p in judge.parameters()]
    model.phases[0].optimizer.add_param_group({"params": parameters})
    model.phases[0].networks = {"discriminator": model.discriminator} | {
        name: network for name, network in model.networks.items() if name.startswith("judge")
    }
    toy_loop(RunFolder.create(folder, "judges"), model, compile=True, steps=2).run()
    return model


def test_many_networks_of_one_class_are_all_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_backend(monkeypatch, "eager")
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        judges(tmp_path)
        torch._dynamo.reset()
        monkeypatch.setattr(compiling, "GRAPHS", 8)  # torch's own number
        with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
            judges(tmp_path)


def test_what_torch_cannot_compile_ends_the_run_with_one_message(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no such instruction\nand much more")

    by_backend(monkeypatch, broken)
    message = r"^train\.compile: torch cannot compile a network: backend='broken' raised: ValueError: no such instruct"
    with pytest.raises(RunError, match=message) as caught:
        toy_loop(run, compile=True).run()
    assert "\n" not in str(caught.value)
    assert "--init-from" in (caught.value.hint or "")


def test_a_platform_that_torch_cannot_compile_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Windows not yet supported for torch.compile\nmore of it")

    monkeypatch.setattr(torch, "compile", refuse)
    message = r"^train\.compile: .* the device cpu: Windows not yet supported for torch.compile$"
    with pytest.raises(ConfigError, match=message) as caught:
        compiling.check_compiler(torch.device("cpu"))
    assert caught.value.exit_code == 2
    assert "Leave train.compile out, or install" in (caught.value.hint or "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="CXX names the compiler on Linux")
def test_a_machine_without_a_compiler_is_refused(tmp_path: Path) -> None:
    code = "import torch; from gancli.engine.compiling import check_compiler; check_compiler(torch.device('cpu'))"
    environment = os.environ | {
        "CXX": str(tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 1
    assert "gancli.errors.ConfigError: train.compile: torch cannot compile on this machine" in run.stderr
    assert "No working C++ compiler" in run.stderr


@needs_compiler
@pytest.mark.slow
def test_a_machine_with_a_compiler_passes() -> None:
    compiling.check_compiler(torch.device("cpu"))
