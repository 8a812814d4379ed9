"""The worlds of benchmarks/mixture.py: data, teachers that are wrong in known ways, networks and distances."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from benchmarks.families_2d import (
    FAMILIES,
    ExactMixture,
    Family,
    Mixture,
    sliced_wasserstein,
    student_start,
    task_from_exact,
)
from realuid.data import Dataset, to_float
from realuid.metrics import Evaluator
from realuid.models import MLP, Condition, Generator, MatchingModel, Plain, UNet
from realuid.paths import heads, make_path
from realuid.recipes import load_recipe
from realuid.recipes.evaluate import make_evaluator
from realuid.recipes.run import new_teacher, recipe_data
from realuid.sampling import generate, spread_labels
from realuid.training import DistillConfig, DistillTask, TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator
from realuid.training.costs import LEARN


class World(Protocol):
    """Data, teachers by name, and how far a student is from the data."""

    name: str
    teachers: tuple[str, ...]
    settings: DistillConfig
    #: Points of a curve.
    points: int

    def task(self, teacher: str, config: DistillConfig, spent: int) -> DistillTask:
        """The distillation of a teacher that is trained further on the data first, in so many forward passes."""

    def quick(self, student: Generator, seed: int) -> float: ...

    def measure(self, student: Generator, seed: int) -> float: ...

    def of_teacher(self, teacher: str) -> float: ...


# --- two dimensions, closed forms ---

#: Five components: a square and its centre.
_MEANS = 1.1 * torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1], [0, 0]], dtype=torch.float64)


@dataclasses.dataclass(frozen=True)
class Weighted(Mixture):
    """A mixture whose components have weights of their own."""

    weights: tuple[float, ...] = (0.2,) * 5

    @property
    def log_weights(self) -> Tensor:
        return torch.tensor(self.weights, dtype=torch.float64).log()

    def sample(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        component = torch.multinomial(torch.tensor(self.weights), count, replacement=True, generator=g)
        x_0 = self.means[component] + self.std * torch.randn(count, 2, generator=g, dtype=torch.float64)
        n = torch.randn(count, 2, generator=g, dtype=torch.float64)
        x_T = n if self.link is None else self.link * x_0 + self.blur * n
        return x_0.float(), x_T.float()


#: What a wrong teacher learnt in place of the data.
WRONG: dict[str, Callable[[Weighted], Weighted]] = {
    "right": lambda w: w,
    "shifted": lambda w: dataclasses.replace(w, means=w.means + torch.tensor([0.3, -0.2], dtype=torch.float64)),
    "blurred": lambda w: dataclasses.replace(w, std=0.45),
    "one mode missing": lambda w: dataclasses.replace(w, weights=(0.25, 0.25, 0.25, 0.25, 0.0)),
    "other weights": lambda w: dataclasses.replace(w, weights=tuple(v / 5.3 for v in (3, 1, 0.3, 0.5, 0.5))),
}


class Points:
    """One family of paths; the student's network is trained on the data for a moment first, as in families_2d."""

    points = 12

    def __init__(self, name: str, folder: Path, updates: int | None):
        self.name, self.family = f"2-D {name}", FAMILIES[name]
        self.teachers = tuple(kind for kind in WRONG if kind != "right")
        self.path = make_path(self.family.path, **self.family.settings)
        self.world = Weighted(_MEANS, link=0.5 if self.path.coupled else None)
        x_0, x_T = self.world.sample(50_000, seed=0)
        self.data = Dataset(x_0, name="mixture", sources=x_T if self.path.coupled else None)
        self.settings = DistillConfig(
            updates=updates or 3000,
            batch=256,
            fake_updates=3,
            generator_lr=1e-3,
            fake_lr=2e-3,
            warmup=20,
            lr_decay="cosine",
            ema=(0.99,),
            space=self.family.prediction,
            device="cpu",
        )
        self._real = self._distance_of(lambda i: self.world.sample(2000, seed=2000 + i), rounds=20)

    def teacher(self, kind: str) -> MatchingModel:
        """The perfect model of what the teacher learnt."""
        return _exact(self.family, WRONG[kind](self.world))

    def task(self, teacher: str, config: DistillConfig, spent: int) -> DistillTask:
        if spent:
            raise ValueError("teachers in closed form have no weights to train further")
        start = student_start(self.family, self.data, 300, config.seed)
        return task_from_exact(self.teacher(teacher), start, self.data, config)

    def _distance_of(self, make: Callable[[int], tuple[Tensor, Tensor]], rounds: int) -> float:
        """Mean sliced Wasserstein distance of what round -> (x_0, x_T) makes to data; of pairs where coupled."""
        total = 0.0
        for i in range(rounds):
            real, made = self.world.sample(2000, seed=1000 + i), make(i)
            sides = (torch.cat(made, dim=1), torch.cat(real, dim=1)) if self.path.coupled else (made[0], real[0])
            total += sliced_wasserstein(*sides)
        return total / rounds

    @torch.no_grad()
    def _ratio(self, student: Generator, rounds: int) -> float:
        def make(i: int) -> tuple[Tensor, Tensor]:
            z = torch.randn(2000, 2, generator=torch.Generator().manual_seed(3000 + i))
            source = self.world.sample(2000, seed=2000 + i)[1]
            return student(z, Condition(x_T=source)), source

        return self._distance_of(make, rounds) / self._real

    def quick(self, student: Generator, seed: int) -> float:
        return self._ratio(student, 2)

    def measure(self, student: Generator, seed: int) -> float:
        return self._ratio(student, 20)

    def of_teacher(self, teacher: str) -> float:
        """Of the distribution that the teacher learnt, with its sources."""
        wrong = WRONG[teacher](self.world)
        return self._distance_of(lambda i: wrong.sample(2000, seed=2000 + i), rounds=20) / self._real


def _exact(family: Family, world: Weighted) -> MatchingModel:
    path = make_path(family.path, **family.settings)
    network = ExactMixture(world, path, family.prediction)
    return MatchingModel(network, path, family.prediction, Plain(time_scale=1.0))


# --- digits ---

_SIDE = 8


class Digits:
    """The bundled digits, class by class, with a perceptron on 64 numbers or the demo's U-Net."""

    points = 12
    teachers = ("early", "blurred", "slow")

    def __init__(self, network: str, folder: Path, updates: int | None, recipe: str = "demo"):
        self.name, self.network, self.folder = f"digits {network}", network, folder
        self.recipe = load_recipe(recipe)
        images = recipe_data(self.recipe)
        self.evaluator: Evaluator = make_evaluator(images, self.recipe.evaluate)
        self.data = images if network == "unet" else self._flat(images)
        own = self.recipe.distill
        self.settings = dataclasses.replace(
            own, lr_decay="constant", updates=updates or {"mlp": 1200, "unet": 2400}[network], device="cpu"
        )
        if network == "mlp":
            self.settings = dataclasses.replace(self.settings, generator_lr=5e-4, fake_lr=1e-3, ema=(0.99,))

    @staticmethod
    def _flat(images: Dataset) -> Dataset:
        return Dataset(to_float(images.values).flatten(1), images.labels, images.name, images.classes)

    def _blurred(self) -> Dataset:
        """Every image averaged with its neighbours, by a Gaussian of standard deviation 0.7 pixels."""
        x = to_float(self.data.values).reshape(-1, 1, _SIDE, _SIDE)
        line = torch.exp(-(torch.arange(-2, 3.0) ** 2) / (2 * 0.7**2))
        kernel = (line[:, None] * line / line.sum() ** 2)[None, None]
        padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-1.0)
        blurred = torch.nn.functional.conv2d(padded, kernel).reshape(self.data.values.shape)
        values = blurred if self.network == "mlp" else ((blurred + 1) * 127.5).round().to(torch.uint8)
        return dataclasses.replace(self.data, values=values)

    def _config(self, share: float = 1.0) -> TeacherConfig:
        own = dataclasses.replace(self.recipe.teacher, device="cpu")
        if self.network == "mlp":
            own = dataclasses.replace(own, updates=3000, batch=256, lr=2e-3)
        return dataclasses.replace(own, updates=max(1, round(share * own.updates)))

    def _train(self, name: str, data: Dataset, config: TeacherConfig) -> MatchingModel:
        """A teacher, trained once and then read."""
        torch.manual_seed(config.seed)
        if self.network == "mlp":
            path, prediction = self.recipe.path.build(), self.recipe.path.prediction
            outputs = heads(prediction or path.default_prediction)
            network = MLP(_SIDE**2, width=112, depth=3, num_classes=10, heads=outputs)
            model = MatchingModel(network, path, prediction, self.recipe.path.make_preconditioning())
        else:
            model = new_teacher(self.recipe, self.data)
        file = self.folder / f"{self.name}, {name}.pt"
        if file.is_file():
            model.load_state_dict(torch.load(file, weights_only=True))
            return model.eval()
        task = TeacherTask(model, data, config, make_accelerator(config))
        for update in range(config.updates):
            task.update(update)
            task.ema.update()
        averaged = task.ema.averaged(config.ema[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(averaged.state_dict(), file)
        return averaged  # type: ignore[return-value]

    def teacher(self, kind: str) -> MatchingModel:
        """A teacher by name: good, early (a tenth of its updates), blurred, or slow (0.9 of the good one's speed)."""
        if kind == "early":
            return self._train(kind, self.data, self._config(0.1))
        if kind == "blurred":
            return self._train(kind, self._blurred(), self._config())
        good = self._train("good", self.data, self._config())
        return slower(good, 0.9) if kind == "slow" else good

    def task(self, teacher: str, config: DistillConfig, spent: int) -> DistillTask:
        model = self.teacher(teacher)
        if spent:
            model = self._further(model, spent, config)
        return DistillTask(model, self.data, config, make_accelerator(config))

    def _further(self, teacher: MatchingModel, spent: int, distill: DistillConfig) -> MatchingModel:
        """A teacher trained further on the data, in batches of the distillation."""
        updates = max(1, round(spent / (LEARN * distill.batch)))
        own = dataclasses.replace(self._config(), updates=updates, batch=distill.batch, lr=1e-3, warmup=20, ema=(0.99,))
        config = dataclasses.replace(own, seed=100 + distill.seed)
        task = TeacherTask(copy.deepcopy(teacher).requires_grad_(True), self.data, config, make_accelerator(config))
        for update in range(updates):
            task.update(update)
            task.ema.update()
        return task.ema.averaged(0.99)  # type: ignore[return-value]

    def _fd(self, model: MatchingModel | Generator, count: int, seed: int) -> float:
        torch.manual_seed(seed)
        labels = spread_labels([1] * 10, count)
        if isinstance(model, Generator):
            with torch.no_grad():
                x = model(torch.randn(count, *model.shape), Condition(labels=labels))
        else:
            x = torch.cat(list(generate(model, count, labels=labels, steps=50, seed=seed)))
        return self.evaluator.score([x.reshape(-1, 1, _SIDE, _SIDE)], full=False).fd

    def quick(self, student: Generator, seed: int) -> float:
        return self._fd(student, 2000, 7)

    def measure(self, student: Generator, seed: int) -> float:
        return self._fd(student, 10_000, 8)

    def of_teacher(self, teacher: str) -> float:
        file = self.folder / f"{self.name}, {teacher}.fd"
        if not file.is_file():
            file.write_text(str(self._fd(self.teacher(teacher), 10_000, 8)))
        return float(file.read_text())


def slower(teacher: MatchingModel, factor: float) -> MatchingModel:
    """A teacher whose velocity is multiplied by a factor."""
    wrong = copy.deepcopy(teacher)
    last = wrong.network.unet.conv_out if isinstance(wrong.network, UNet) else wrong.network.outlet  # type: ignore
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(factor)
    return wrong


POINTS: dict[str, Callable[[Path, int | None], World]] = {name: partial(Points, name) for name in FAMILIES}
DIGITS: dict[str, Callable[[Path, int | None], World]] = {name: partial(Digits, name) for name in ("mlp", "unet")}
