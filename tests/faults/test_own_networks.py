"""Networks of the user's own: exported, wrapped by torch.compile and DataParallel, and told the steps of a grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import realuid as library
from realuid.errors import CheckpointError
from realuid.models import fingerprint, from_pretrained, save_pretrained
from realuid.paths import make_path
from realuid.training.ema import EMA


class Net(nn.Module):
    """With an entry that is called as wrappers call what they wrap."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self.t = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(1, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.module(x) + self.t(time[:, None])[:, :, None, None]


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("torch", "s.pt2"),
        pytest.param("onnx", "s.onnx", marks=pytest.mark.slow),
        pytest.param("diffusers", "s", marks=pytest.mark.slow),
    ],
)
def test_they_are_exported(to, name: str, tmp_path: Path) -> None:
    """The check of the answer's shape tied the traced program to the batch of the example."""
    student = library.Generator(library.Teacher(Net(), (1, 8, 8)), t_init=0.7)
    done = library.export(student, tmp_path / name, to=to)
    assert done.difference < 1e-5 and (tmp_path / name).exists()


WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda net: net,
    "compiled": lambda net: torch.compile(net, backend="eager"),  # type: ignore[return-value]
    "parallel": nn.DataParallel,
    "both": lambda net: nn.DataParallel(torch.compile(net, backend="eager")),  # type: ignore[arg-type]
}


def teacher(wrap: str, seed: int = 0) -> library.Teacher:
    torch.manual_seed(seed)
    return library.Teacher(WRAPS[wrap](Net()), (1, 8, 8))


@pytest.mark.parametrize("saved", WRAPS)
@pytest.mark.parametrize("loaded", WRAPS)
def test_weights_fit_wrapped_or_not(saved: str, loaded: str, tmp_path: Path) -> None:
    model = library.Generator(teacher(saved))
    save_pretrained(model, tmp_path / "m")
    assert list(model.state_dict()) == list(library.Generator(teacher("plain")).state_dict())
    again = from_pretrained(tmp_path / "m", teacher(loaded, seed=1).network.function)  # type: ignore[attr-defined]
    z = torch.randn(3, 1, 8, 8)
    assert torch.equal(again(z), model(z)) and fingerprint(again) == fingerprint(model)


def test_what_does_not_fit_is_still_named(tmp_path: Path) -> None:
    save_pretrained(teacher("compiled"), tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"4 missing: network\.function\.0\.bias"):
        from_pretrained(tmp_path / "m", nn.DataParallel(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))))


def test_averages_of_wrapped_weights_come_back() -> None:
    model = teacher("both")
    average, again = (EMA(m, (0.5,)) for m in (model, teacher("both", seed=1)))
    again.load_state_dict(average.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(average.averages[0.5], again.averages[0.5], strict=True))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, [0.0, 499.0, 999.0]),
        ({"time_scale": 1000}, [0.0, 499.0, 999.0]),
        ({"time_scale": 1.0}, [0.001, 0.5, 1]),
        ({"time_scale": 500}, [0.5, 250, 500]),
        ({"reverse_time": True}, [0.999, 0.5, 0]),
        ({"path": "linear"}, [0.001, 0.5, 1]),
        ({"path": "linear", "time_scale": 1000}, [1.0, 500.0, 1000.0]),
        ({"path": make_path("ddpm", num_train_timesteps=100)}, [-0.9, 49, 99]),
    ],
)
def test_networks_on_a_grid_are_told_its_steps(settings, told: list[float]) -> None:
    asked: list[Tensor] = []

    def network(x: Tensor, time: Tensor) -> Tensor:
        asked.append(time)
        return x

    library.Teacher(network, (1, 8, 8), **{"path": "ddpm", **settings})(
        torch.zeros(3, 1, 8, 8), torch.tensor([0.001, 0.5, 1.0])
    )
    assert torch.allclose(asked[0], torch.tensor(told, dtype=torch.float32), atol=1e-3)
