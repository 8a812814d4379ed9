"""What realuid uses of other libraries' private parts: these fail first when a library changes."""

from __future__ import annotations

import copy
import importlib.metadata
import re
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

import realuid.compat as compat
from realuid.devices import tune_process

SOURCE = Path(compat.__file__).parent


def test_no_other_module_uses_private_names_of_libraries() -> None:
    """Attributes that start with one underscore are used only of objects of realuid: self, cls and their fields."""
    private = re.compile(
        r"torch\._(?!_|utils)|from (torch|diffusers|peft|accelerate|torchmetrics)[\w.]*\._|\.__class__ =|"
        r"\._(disable_adapters|active_adapter|shared_state|reset_state|fix_state_dict_keys_on_load|apply|modules)\b|"
        r"(real|fake)_features_(cov_)?sum|register_module_\w+_hook"
    )
    found = {
        f"{path.relative_to(SOURCE)}: {match.group()}"
        for path in SOURCE.rglob("*.py")
        if path.name != "compat.py"
        for match in private.finditer(path.read_text())
    }
    assert found == set()


def test_averages_move_towards_values() -> None:
    averages = [torch.zeros(3), torch.full((2,), 4.0)]
    compat.lerp_all_(averages, [torch.ones(3), torch.zeros(2)], 0.25)
    assert averages[0].tolist() == [0.25] * 3 and averages[1].tolist() == [3.0] * 2


def test_new_parameters_are_told() -> None:
    told = []
    with compat.on_new_parameter(lambda module, name, parameter: told.append((type(module), name))):
        nn.Linear(2, 2)
    nn.Linear(2, 2)
    assert told == [(nn.Linear, "weight"), (nn.Linear, "bias")]


def test_another_module_moves_along() -> None:
    other = nn.Linear(2, 2)

    class View(compat.MovesAnother):
        def moved_along(self) -> nn.Module:
            return other

    nn.Sequential(View()).double()
    assert other.weight.dtype == torch.float64


def test_an_archive_of_a_program_is_listed_and_loaded(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    torch.export.save(torch.export.export(model, (torch.ones(1, 3),)), tmp_path / "linear.pt2")
    with (tmp_path / "linear.pt2").open("rb") as file:
        archive = compat.open_pt2_archive(file, without="data/sample_inputs/model.pt")
        assert "models/model.json" in archive.get_file_names()
        assert b"aten.linear" in archive.read_bytes("models/model.json")
        assert archive.read_bytes("data/sample_inputs/model.pt") == b""
        program = compat.load_pt2_program(archive).module()
    assert torch.equal(program(torch.ones(1, 3)), model(torch.ones(1, 3)))


def test_sizes_are_worked_out_without_memory() -> None:
    with compat.sizes_only() as sized:
        made = sized(torch.ones(2, 3)).repeat(10**6, 10**6) @ torch.ones(3 * 10**6, 1)
    assert made.shape == (2 * 10**6, 1)


def test_operators_that_write_into_what_they_are_passed_are_told() -> None:
    assert compat.is_pure(torch.ops.aten.add.Tensor) and not compat.is_pure(torch.ops.aten.add.out)


def test_accelerators_leave_the_caller_s_state_alone(monkeypatch) -> None:
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    assert compat.new_accelerator(cpu=True).mixed_precision == "no"
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    caller = Accelerator(mixed_precision="bf16", cpu=True)
    ours = compat.new_accelerator(cpu=True)
    assert ours.mixed_precision == "no" and ours.device == torch.device("cpu")
    assert caller.mixed_precision == "bf16" and Accelerator(cpu=True).mixed_precision == "bf16"


def test_a_second_accelerator_of_ours_has_its_own_device(monkeypatch) -> None:
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    first = compat.new_accelerator(cpu=True)
    monkeypatch.setattr("accelerate.state.PartialState.default_device", torch.device("meta"))
    second = compat.new_accelerator(cpu=False)
    assert (first.device, second.device) == (torch.device("cpu"), torch.device("meta"))


@pytest.mark.parametrize("before", [False, True])
def test_an_accelerator_that_cannot_be_made_leaves_no_state(before: bool, monkeypatch) -> None:
    for kind in (AcceleratorState, PartialState):
        monkeypatch.setattr(kind, "_shared_state", {})
    if before:
        Accelerator(mixed_precision="bf16", cpu=True)
    state = dict(AcceleratorState._shared_state)

    def fail(*_, **__) -> None:
        AcceleratorState._shared_state["device"] = "half-made"
        raise RuntimeError("no device")

    with monkeypatch.context() as broken, pytest.raises(RuntimeError, match="no device"):
        broken.setattr("accelerate.Accelerator.__init__", fail)
        compat.new_accelerator(cpu=True)
    assert AcceleratorState._shared_state == state
    assert Accelerator(cpu=True).mixed_precision == ("bf16" if before else "no")


def test_no_library_call_changes_the_process(digits, tmp_path: Path) -> None:
    """Training through Python leaves cuDNN's flags, threads, default types and random state of the process alone."""
    from conftest import small_teacher

    from realuid.training import TeacherConfig, train_teacher

    def state() -> tuple:
        cudnn = torch.backends.cudnn
        flags = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
        return (*flags, torch.get_num_threads(), torch.get_default_dtype(), torch.get_rng_state().tolist())

    teacher = small_teacher()
    before = state()
    train_teacher(teacher, digits, TeacherConfig(updates=1, batch=4, device="cpu"), tmp_path / "run")
    assert state() == before


def test_commands_tune_the_process(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    tune_process()
    assert torch.backends.cudnn.benchmark


def test_a_module_changes_its_methods_and_keeps_its_weights() -> None:
    class Own(ResnetBlock2D):
        def forward(self, input_tensor, temb):
            return super().forward(input_tensor, temb) + 1

    block = ResnetBlock2D(in_channels=32, out_channels=32, temb_channels=8).eval()
    x, temb = torch.randn(1, 32, 4, 4), torch.randn(1, 8)
    before = block(x, temb)
    compat.change_class(block, Own)
    assert torch.equal(block(x, temb), before + 1)


def test_weights_of_old_attention_get_today_s_names() -> None:
    model = AutoencoderKL(block_out_channels=(32,), norm_num_groups=8)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, value in weights.items():
        for new, past in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{past}.")
        renamed[name] = value
    assert renamed.keys() != weights.keys()
    compat.rename_old_attention(model, renamed)
    assert renamed.keys() == weights.keys()
    assert all(torch.equal(renamed[name], value) for name, value in weights.items())


def test_one_adapter_acts_and_all_stay_trainable() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    plain, x = copy.deepcopy(network), torch.randn(3, 2)
    for name in ("student", "fake"):
        inject_adapter_in_model(LoraConfig(r=1, lora_alpha=1, target_modules=["0"]), network, name)
    layer = network[0]
    for number, name in enumerate(("student", "fake"), 1):
        nn.init.constant_(layer.lora_A[name].weight, number)
        nn.init.constant_(layer.lora_B[name].weight, 1.0)
    layer.requires_grad_(True)
    for number, name in ((1, "student"), (2, "fake"), (0, None)):
        compat.activate_adapter(layer, name)
        expected = plain[1](plain[0](x) + number * x.sum(1, keepdim=True))
        assert torch.allclose(network(x), expected, atol=1e-6)
        assert all(p.requires_grad for p in layer.parameters())


@pytest.mark.parametrize("of", ["real", "fake"])
def test_sums_of_features_are_read_and_put_back(of: str) -> None:
    """The sums are those of numpy, and a metric that only got sums has the distance of one that saw the images."""

    class Features(nn.Module):
        num_features = 3

        def forward(self, x):
            return x

    real, fake = torch.randn(50, 3), torch.randn(40, 3) + 1
    first, second = (FrechetInceptionDistance(feature=Features(), normalize=True) for _ in range(2))
    for metric in (first, second):
        metric.update(real[:0], real=True)
        metric.update(fake[:0], real=False)
    first.update(real, real=True)
    first.update(fake, real=False)
    features = {"real": real, "fake": fake}[of].double()
    sums = compat.feature_sums(first, of)
    assert torch.allclose(sums["features_sum"], features.sum(0))
    assert torch.allclose(sums["features_cov_sum"], features.T @ features)
    assert int(sums["features_num_samples"]) == len(features)
    compat.set_feature_sums(second, of, sums)
    other = "fake" if of == "real" else "real"
    second.update({"real": real, "fake": fake}[other], real=other == "real")
    assert float(second.compute()) == pytest.approx(float(first.compute()))


def test_the_versions_that_are_written_down_are_those_that_are_allowed() -> None:
    """The lowest versions that the module names are those that pyproject.toml declares."""
    required = {
        re.match(r"[\w-]+", r).group(): re.search(r">=([\d.]+)", r).group(1)
        for r in importlib.metadata.requires("realuid") or []
        if ">=" in r
    }
    text = (SOURCE / "compat.py").read_text()
    for library, name in (("torch", "torch"), ("accelerate", "accelerate"), ("diffusers", "diffusers")):
        assert re.search(rf"{name} {re.escape(required[library])}", text), library
    assert f"PEFT {required['peft']}" in text and f"torchmetrics {required['torchmetrics']}" in text


def test_memory_is_counted_once_a_storage_and_given_back() -> None:
    with compat.allocated_memory() as memory:
        x = torch.ones(1000)
        assert memory.now == 4000
        y = x.view(10, 100) + 1
        assert memory.now == 8000
        del x, y
        assert memory.now == 0 and memory.peak == 8000


def test_modules_without_memory_move() -> None:
    with compat.sizes_only(), compat.moving_sizes():
        layer = torch.nn.Linear(3, 2).requires_grad_(False)
        weight = layer.weight
        assert compat.is_without_memory(weight) and layer.to("cpu").weight is weight
        with compat.with_values():
            assert (torch.ones(2) + 1).tolist() == [2, 2]
        assert layer.to(torch.bfloat16).weight.dtype == torch.bfloat16 and not layer.weight.requires_grad
    assert not compat.is_without_memory(torch.nn.Linear(3, 2).to(torch.float64).weight)
