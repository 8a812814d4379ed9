"""No wasted work: the arithmetic of an update, counted by torch, is what the formula says and not one product more."""

from __future__ import annotations

import pytest
import torch
from conftest import small_teacher
from diffusers.models.upsampling import Upsample2D
from tasks import fake_turn, generator_turn
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from realuid.data import Dataset
from realuid.training import DistillConfig, DistillTask
from realuid.training.accelerate import make_accelerator
from realuid.training.costs import update_cost
from realuid.training.log import Means, Throughput

BATCH, REAL = 16, 2


def task(**settings) -> DistillTask:
    values = torch.randint(0, 256, (50, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    fixed = {"batch": BATCH, "real_share": REAL / BATCH, "fake_updates": 1, "device": "cpu"}
    config = DistillConfig(**{**fixed, **settings})
    return DistillTask(small_teacher(), Dataset(values, name="noise"), config, make_accelerator(config))


class Layers:
    """Multiplications and additions of one image's forward pass, from the shapes of a network's layers alone.

    Convolutions lie between the input image and the output, linear layers between the time and the output.
    """

    def __init__(self) -> None:
        self.image = self.first = self.time = 0
        model = small_teacher()
        kinds = nn.Conv2d | nn.Linear | Upsample2D
        hooks = [m.register_forward_hook(self._count) for m in model.modules() if isinstance(m, kinds)]
        model(torch.randn(1, 1, 8, 8), torch.full((1,), 0.5))
        for hook in hooks:
            hook.remove()
        self.first_time = 2 * model.network.unet.time_embedding.linear_1.weight.numel()

    def _count(self, module: nn.Module, _: tuple, output: torch.Tensor) -> None:
        if isinstance(module, nn.Linear):
            self.time += 2 * module.weight.numel()
            return
        if isinstance(module, Upsample2D):  # 4 x 4 products at every pixel before instead of 3 x 3 after
            flops = 2 * module.conv.weight.numel() * 16 // 9 * output.shape[-1] * output.shape[-2] // 4
        else:
            flops = 2 * module.weight.numel() * output.shape[-1] * output.shape[-2]
        self.first = self.first or flops
        self.image += flops

    @property
    def forward(self) -> int:
        return self.image + self.time

    @property
    def learn(self) -> int:
        """Forward, gradients of weights, gradients of all inputs but the image and the time."""
        return 3 * self.forward - self.first - self.first_time

    @property
    def through(self) -> int:
        """Forward and the gradient of the image, with frozen weights; the time has none."""
        return 2 * self.image + self.time


def flops(step) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def test_the_fake_step_calls_the_generator_forwards_only_and_the_teacher_never() -> None:
    of = Layers()
    assert flops(lambda: fake_turn(task(alpha=0.92, beta=0.94), 0)) == BATCH * of.forward + (BATCH + REAL) * of.learn


def test_images_are_made_once_for_all_steps_of_a_turn() -> None:
    of, run = Layers(), task(alpha=0.92, beta=0.94, fake_updates=3)
    assert flops(lambda: fake_turn(run, 0)) == BATCH * of.forward + 3 * (BATCH + REAL) * of.learn


def test_real_data_costs_nothing_where_it_has_no_weight() -> None:
    of = Layers()
    assert flops(lambda: fake_turn(task(), 0)) == BATCH * (of.forward + of.learn)


@pytest.mark.parametrize("objective", ["general", "normalised"])
def test_objectives_whose_fake_side_reads_the_teacher_call_it_forwards(objective: str) -> None:
    of, both = Layers(), BATCH + REAL
    run = task(objective=objective, alpha=0.92, beta=0.94)
    assert flops(lambda: fake_turn(run, 0)) == BATCH * of.forward + both * (of.learn + of.forward)


@pytest.mark.parametrize("objective", ["realuid", "general", "normalised"])
def test_the_generator_turn_goes_through_frozen_networks_without_their_weights_gradients(objective: str) -> None:
    of = Layers()
    run = task(objective=objective, alpha=0.92, beta=0.94)
    assert flops(lambda: generator_turn(run, 0)) == BATCH * (of.learn + 2 * of.through)


@pytest.mark.parametrize(("inputs", "before"), [("rollout", 1.5), ("data", 0)])
def test_a_rollout_costs_the_calls_before_the_one_that_is_trained(inputs: str, before: float) -> None:
    """Each of four calls makes a quarter of a batch: 0, 1, 2 or 3 calls come before it, as in the cost model."""
    of, run, one = Layers(), task(calls=4, call_inputs=inputs), task()
    assert flops(lambda: fake_turn(run, 0)) == BATCH * ((before + 1) * of.forward + of.learn)
    assert flops(lambda: generator_turn(run, 0)) == BATCH * (before * of.forward + of.learn + 2 * of.through)
    costs, cost_of_one = update_cost(run.config), update_cost(one.config)
    assert costs.images == cost_of_one.images + before and costs.generator == cost_of_one.generator + before


def test_dmd_does_not_go_back_through_the_networks_and_keeps_nothing_for_it() -> None:
    of, dmd = Layers(), task(objective="dmd", alpha=0.9, beta=0.9)
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        assert flops(lambda: generator_turn(dmd, 0)) == BATCH * (of.learn + 2 * of.forward)
    full, kept = kept, 0
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        generator_turn(task(), 0)
    assert full < 0.6 * kept  # one network's activations against three networks'


def test_the_adversarial_loss_stops_at_the_bottleneck() -> None:
    plain, judged = (flops(lambda c=c: generator_turn(task(**c), 0)) for c in ({}, {"lambda_g": 1.0}))
    of = Layers()
    assert plain < judged < plain + BATCH * (of.learn + of.through)  # its own generated batch goes all the way through


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a device: numbers read out of tensors, shapes that depend on values."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "equal")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.found: list[str] = []
        for name in ("tolist", "cpu", "numpy"):
            real = getattr(torch.Tensor, name)
            monkeypatch.setattr(torch.Tensor, name, lambda x, name=name, real=real: self.found.append(name) or real(x))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masked = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in self.NAMES or masked:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def test_the_counter_of_waits_counts(monkeypatch) -> None:
    x = torch.tensor([1.0, 0.0])
    for wait in (lambda: x[0].item(), lambda: bool(x[1]), x.tolist, lambda: x[x > 0], lambda: x.nonzero(), x.cpu):
        with monkeypatch.context() as patch, Waits(patch) as waits:
            getattr(x, wait.__name__, wait)()
        assert len(waits.found) == 1, wait


@pytest.mark.parametrize(
    "game",
    [
        {},
        {"alpha": 0.92, "beta": 0.94, "flip": True},
        {"lambda_g": 1},
        {"micro_batch": 5},
        {"calls": 3, "fake_sees_call": True},
        {"calls": 3, "call_inputs": "data"},
    ],
)
def test_an_update_never_waits_for_the_device(game: dict, monkeypatch) -> None:
    run, means, throughput = task(**game), Means(), Throughput()
    run.update(0)  # optimisers make their state
    with Waits(monkeypatch) as waits:
        for number in range(1, 3):
            means.add(run.update(number))
            run.ema.update()
            throughput.images += run.images_per_update
    assert waits.found == []
