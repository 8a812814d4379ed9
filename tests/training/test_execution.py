"""How the machine is used changes no result, to the bit where that can be, and within a stated tolerance elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from safetensors.torch import load_file
from tasks import attentive, fake_turn, generator_turn, noise

from realuid.errors import ConfigError
from realuid.models import MatchingModel, NetworkConfig, OwnNetwork, SongUNet, build_network
from realuid.paths import make_path
from realuid.training import DistillConfig, DistillTask, TeacherConfig, distill_teacher, train_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.execution import Execution, choose_execution

CPU = torch.device("cpu")
OFF = {
    "precision": "fp32",
    **dict.fromkeys(("channels_last", "fused", "activation_checkpointing", "compile", "shard"), False),
}


def after_two_updates(teacher: MatchingModel, **changes) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of both players in the first update, and their weights after the second."""
    settings = {"batch": 16, "fake_updates": 1, "alpha": 0.92, "beta": 0.94, "device": "cpu", **OFF, **changes}
    config = DistillConfig(**settings)
    task = DistillTask(teacher, noise(teacher.shape), config, make_accelerator(config))
    learning = [p for player in task.players for p in player.parameters]
    fake_turn(task, 0)
    gradients = [p.grad.flatten() for p in task.opponent.parameters]
    generator_turn(task, 0)
    gradients = torch.cat([p.grad.flatten() for p in task.learner.parameters] + gradients)
    task.update(1)
    return gradients, torch.cat([p.detach().flatten() for p in learning])


def difference(teacher: MatchingModel, **changes) -> float:
    """Largest difference of a gradient between these settings and none of them, relative to the largest gradient."""
    plain, pulled = after_two_updates(teacher)[0], after_two_updates(teacher, **changes)[0]
    assert len(plain) == len(pulled) and plain.isfinite().all() and plain.abs().max() > 1e-3
    return ((plain - pulled).abs().max() / plain.abs().max()).item()


def difference_in_the_end(teacher: MatchingModel, **changes) -> float:
    """Largest difference of a weight after two updates in float64, where rounding cannot hide behind Adam's signs."""
    torch.set_default_dtype(torch.float64)
    try:
        plain, pulled = (after_two_updates(teacher.double(), **pull)[1] for pull in ({}, changes))
    finally:
        torch.set_default_dtype(torch.float32)
    assert plain.dtype == torch.float64
    return (plain - pulled).abs().max().item()


def test_recomputed_activations_change_no_bit() -> None:
    plain, pulled = after_two_updates(attentive()), after_two_updates(attentive(), activation_checkpointing=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, pulled, strict=True))


def test_recomputed_activations_change_no_bit_of_edms_networks() -> None:
    torch.manual_seed(0)
    network = SongUNet(8, 1, 1, model_channels=8, channel_mult=[1, 2], num_blocks=1, attn_resolutions=[4])
    assert difference(MatchingModel(network, make_path("linear")), activation_checkpointing=True) == 0.0


def test_recomputing_keeps_less() -> None:
    kept = []
    for checkpointing in (False, True):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.nbytes) or t, lambda t: t):
            after_two_updates(attentive(), activation_checkpointing=checkpointing)
        kept.append(sum(sizes))
    assert kept[1] < 0.6 * kept[0]


def test_memory_layout_changes_the_order_of_sums_only() -> None:
    assert difference(attentive(), channels_last=True) < 1e-5
    assert difference_in_the_end(attentive(), channels_last=True) < 1e-12


def test_one_adam_kernel_changes_rounding_only() -> None:
    assert difference_in_the_end(attentive(), fused=True) < 1e-12


def test_bf16_stays_within_its_precision() -> None:
    """Gradients within a few units of its eight bits."""
    assert 1e-6 < difference(attentive(), precision="bf16") < 0.05


def test_all_of_them_together() -> None:
    assert difference_in_the_end(attentive(), channels_last=True, fused=True, activation_checkpointing=True) < 1e-12


@pytest.fixture
def traced(monkeypatch) -> list[torch.nn.Module]:
    """Compilation without the minutes of writing kernels: graphs and their derivatives are traced, then run as is."""
    modules, original = [], torch.nn.Module.compile

    def compile_by_tracing(module: torch.nn.Module) -> None:
        modules.append(module)
        original(module, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_by_tracing)
    yield modules
    torch._dynamo.reset()


@pytest.mark.slow
def test_compiled_networks_give_the_same_gradients(traced) -> None:
    assert difference(attentive(), compile=True) < 1e-5
    assert len(traced) == 3  # teacher, generator, fake model


@pytest.mark.slow
def test_a_compiled_run_leaves_the_same_folder(traced, tmp_path: Path) -> None:
    """Names and numbers of all saved tensors, up to the order of sums."""
    settings = {"updates": 2, "batch": 4, "fake_updates": 1, "device": "cpu", "save_every": 1, "warmup": 100}
    for name, compiled in (("plain", False), ("compiled", True)):
        distill_teacher(small_teacher(), noise(), DistillConfig(**settings, compile=compiled), tmp_path / name)
    assert len(traced) == 3
    files = [
        {str(p.relative_to(tmp_path / n)) for p in (tmp_path / n).rglob("*.safetensors")} for n in ("plain", "compiled")
    ]
    assert files[0] == files[1] and len(files[0]) == 7
    for file in files[0]:
        plain, compiled = (load_file(tmp_path / name / file) for name in ("plain", "compiled"))
        assert plain.keys() == compiled.keys()
        assert all(torch.allclose(plain[k].double(), compiled[k].double(), atol=1e-5) for k in plain), file
    assert json.loads((tmp_path / "compiled" / "machine.json").read_text())["execution"]["compile"] is True


def test_what_is_left_open_is_decided_by_the_device() -> None:
    expected = Execution(
        precision="fp32", channels_last=False, fused=True, activation_checkpointing=False, compile=False, shard=False
    )
    assert choose_execution(DistillConfig(), CPU, attentive()) == expected
    wide = MatchingModel(
        build_network(NetworkConfig(channels=(64,), blocks=1, attention_at=()), (1, 8, 8)), make_path("linear")
    )
    assert choose_execution(DistillConfig(), CPU, wide) == dataclasses.replace(expected, channels_last=True)
    off = choose_execution(DistillConfig(**OFF), CPU)
    assert off.to_dict() == OFF


def test_only_convolutions_that_realuid_knows_are_laid_out() -> None:
    """And what is said of the others is what happens to them."""
    points = MatchingModel(build_network(NetworkConfig(architecture="mlp"), (2,)), make_path("linear"))
    own = MatchingModel(OwnNetwork(Viewing(), (1, 8, 8)), make_path("linear"))
    for model, laid_out in ((attentive(), True), (points, False), (own, False)):
        for asked in (None, True):
            chosen = choose_execution(DistillConfig(precision="fp32", channels_last=asked), torch.device("cuda"), model)
            assert chosen.channels_last == laid_out


def test_an_accelerator_computes_in_bf16(monkeypatch) -> None:
    """One that only emulates it does not."""
    for native, precision in ((True, "bf16"), (False, "fp32")):
        supported = lambda including_emulation=True, native=native: including_emulation or native  # noqa: E731
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
        assert choose_execution(DistillConfig(), torch.device("cuda")).precision == precision
    assert choose_execution(DistillConfig(precision="fp16"), torch.device("cuda")).precision == "fp16"


def test_how_a_run_used_the_machine_is_in_its_folder(tmp_path: Path) -> None:
    config = DistillConfig(
        updates=1, batch=4, fake_updates=1, device="cpu", activation_checkpointing=True, micro_batch=2
    )
    distill_teacher(small_teacher(), noise(), config, tmp_path / "s")
    machine = json.loads((tmp_path / "s" / "machine.json").read_text())
    assert machine["gradient_accumulation_steps"] == {"generator": 2, "fake": 2}
    assert machine["execution"] == {**OFF, "fused": True, "activation_checkpointing": True}
    assert (machine["device"], machine["processes"]) == ("cpu", 1) and machine["threads"] >= 1
    train_teacher(small_teacher(), noise(), TeacherConfig(updates=1, batch=4, device="cpu"), tmp_path / "t")
    assert json.loads((tmp_path / "t" / "machine.json").read_text())["execution"]["activation_checkpointing"] is False


def test_a_network_of_ones_own_keeps_its_layout_and_says_that_it_cannot_recompute() -> None:
    own = MatchingModel(OwnNetwork(Viewing(), (1, 8, 8)), make_path("linear"))
    assert after_two_updates(own, channels_last=True)[0].isfinite().all()
    with pytest.raises(ConfigError, match=r"OwnNetwork cannot recompute its activations.*smaller micro_batch"):
        after_two_updates(own, activation_checkpointing=True)


@pytest.mark.parametrize("plugin", ["FSDP", "DEEPSPEED"])
def test_what_splits_the_weights_is_refused(plugin: str, monkeypatch) -> None:
    from accelerate import Accelerator, DistributedType

    kind = DistributedType[plugin]
    monkeypatch.setattr(Accelerator, "distributed_type", property(lambda self: kind))
    with pytest.raises(ConfigError, match=rf"accelerate is configured for {kind.value}.*torchrun.*--activation-ch"):
        make_accelerator(DistillConfig(device="cpu"))


class Viewing(torch.nn.Module):
    """Code that only works on contiguous images."""

    def __init__(self) -> None:
        super().__init__()
        self.inlet, self.outlet = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.inlet(x)
        return self.outlet((h.view(len(h), -1) * time.view(-1, 1)).view(h.shape))
