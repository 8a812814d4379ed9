"""Distillation of every family from a teacher without error, in two dimensions.

Data are mixtures of Gaussians, coupled ones jointly Gaussian with their sources in every component, so that the perfect
teacher is known in closed form. A student is good if its samples are hardly further from real ones than real ones are
from each other: sliced Wasserstein distance (W1 over fixed directions; of pairs (x_0, x_T) where the path is coupled)
divided by that of two independent real samples of the same size. The bar is 2.

    python benchmarks/families_2d.py [--families flow bridge] [--updates 2000] [--out results.json]
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from realuid.data import Dataset
from realuid.models import (
    MLP,
    Condition,
    Generator,
    MatchingModel,
    Network,
    Plain,
    fresh,
    make_preconditioning,
)
from realuid.paths import PREDICTIONS, STACKED, Coefficients, heads, make_path
from realuid.paths import Path as MatchingPath
from realuid.seeds import mix
from realuid.training import DistillConfig, DistillTask, TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator


@dataclass(frozen=True)
class Family:
    """One matching model: its path, what its networks predict, and the space of the losses."""

    path: str
    prediction: str
    settings: dict = field(default_factory=dict)
    preconditioning: str = "plain"


FAMILIES = {
    "flow": Family("linear", "velocity"),
    "vp": Family("vp", "v_prediction"),
    "edm": Family("ve", "data_prediction", {"sigma_max": 20.0, "p_mean": -0.6, "sigma_data": 1.0}, "edm"),
    "bridge": Family("brownian_bridge", "data_prediction", {"noise": 0.7}),
    "interpolant": Family("interpolant", "velocity", {"noise": 0.5}),
    "interpolant-both": Family("interpolant", "velocity_and_noise", {"noise": 0.5}),
    "interpolant-coupled": Family("interpolant", "velocity", {"noise": 0.5, "coupled": True}),
}
#: With real data in the loss, and without.
OBJECTIVES = {"data-free": (1.0, 1.0), "real-data": (0.96, 0.98)}


@dataclass(frozen=True)
class Mixture:
    """Components of equal weight; in each, (x_0, x_T, eps) of one coordinate are Gaussian with one covariance.

    Args:
        means: of x_0, shape (k, 2).
        std: of x_0 in a component.
        link: x_T = link x_0 + blur n where coupled; None for an independent x_T ~ N(0, I).
        blur: see link.
    """

    means: Tensor
    std: float = 0.2
    link: float | None = None
    blur: float = 0.6

    @property
    def log_weights(self) -> Tensor:
        """Logarithms of the components' weights up to a constant, shape (k,)."""
        return torch.zeros(len(self.means), dtype=torch.float64)

    @property
    def centres(self) -> Tensor:
        """Means of (x_0, x_T, eps), shape (k, 3, 2)."""
        return torch.stack([self.means, (self.link or 0) * self.means, 0 * self.means], dim=1)

    @property
    def covariance(self) -> Tensor:
        """Of (x_0, x_T, eps) in one coordinate of a component, shape (3, 3)."""
        v, b = self.std**2, self.link or 0
        source = 1.0 if self.link is None else b**2 * v + self.blur**2
        return torch.tensor([[v, b * v, 0], [b * v, source, 0], [0, 0, 1]], dtype=torch.float64)

    def sample(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Pairs x_0 and x_T, float32, shape (count, 2) each."""
        g = torch.Generator().manual_seed(seed)
        component = torch.randint(len(self.means), (count,), generator=g)
        x_0 = self.means[component] + self.std * torch.randn(count, 2, generator=g, dtype=torch.float64)
        n = torch.randn(count, 2, generator=g, dtype=torch.float64)
        x_T = n if self.link is None else self.link * x_0 + self.blur * n
        return x_0.float(), x_T.float()


def mixture(coupled: bool) -> Mixture:
    """Five components: a square and its centre, of unit scale."""
    means = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1], [0, 0]], dtype=torch.float64) * 1.1
    return Mixture(means, link=0.5 if coupled else None)


class ExactMixture(Network):
    """E[prediction | x_t (, x_T)] of a mixture, in closed form: a network without parameters."""

    def __init__(self, world: Mixture, path: MatchingPath, prediction: str):
        super().__init__({})
        self.world, self.path, self.parts = world, path, STACKED.get(prediction, (prediction,))
        self.shape, self.heads, self.sees_source = (2,), heads(prediction), path.coupled

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        k: Coefficients = self.path.coefficients(time.double())
        zero, one = torch.zeros_like(k.t), torch.ones_like(k.t)
        rows, values = [torch.stack([k.a, k.b, k.c], dim=1)], [x]
        if self.sees_source:
            rows.append(torch.stack([zero, one, zero], dim=1))
            values.append(condition["source"])  # type: ignore[arg-type]
        seen, value = torch.stack(rows, dim=1), torch.stack(values, dim=1).double()  # (b, m, 3), (b, m, 2)
        wanted = torch.stack([torch.stack(PREDICTIONS[p](self.path, k), dim=1) for p in self.parts], dim=1)  # (b, h, 3)

        centres, cov = self.world.centres.to(x.device), self.world.covariance.to(x.device)
        off = value[:, None] - torch.einsum("bms,ksd->bkmd", seen, centres)  # from the centre of every component
        inverse = torch.linalg.inv(seen @ cov @ seen.mT)
        squares = torch.einsum("bkmd,bmn,bknd->bk", off, inverse, off)
        weight = torch.softmax(self.world.log_weights.to(x.device) - 0.5 * squares, dim=1)
        gain = wanted @ cov @ seen.mT @ inverse
        each = torch.einsum("bhs,ksd->bkhd", wanted, centres) + torch.einsum("bhm,bkmd->bkhd", gain, off)
        return torch.einsum("bk,bkhd->bhd", weight, each).flatten(1).to(x.dtype)


def exact_teacher(family: Family) -> tuple[MatchingModel, Mixture]:
    """The perfect model of a family, and its world."""
    path = make_path(family.path, **family.settings)
    world = mixture(path.coupled)
    network = ExactMixture(world, path, family.prediction)
    return MatchingModel(network, path, family.prediction, Plain(time_scale=1.0)), world


def student_start(family: Family, data: Dataset, updates: int, seed: int) -> MatchingModel:
    """A network trained on data for a short while: where the generator starts, since the teacher has no weights."""
    path = make_path(family.path, **family.settings)
    torch.manual_seed(seed)
    network = MLP(2, width=96, depth=3, sees_source=path.coupled, heads=heads(family.prediction))
    model = MatchingModel(network, path, family.prediction, make_preconditioning(family.preconditioning))
    config = TeacherConfig(updates=updates, batch=512, lr=2e-3, warmup=50, lr_decay="cosine", device="cpu", seed=seed)
    task = TeacherTask(model, data, config, make_accelerator(config))
    for i in range(updates):
        task.update(i)
    return model.eval()


def task_from_exact(teacher: MatchingModel, start: MatchingModel, data: Dataset, config: DistillConfig) -> DistillTask:
    """A distillation of a teacher without parameters: both players are networks as `start`, the fake model's random or,
    where it begins as the teacher, a copy.
    """
    fake = copy.deepcopy(start) if config.fake_begins == "teacher" else fresh(start, mix(config.seed, "fake start"))
    return DistillTask(teacher, data, config, make_accelerator(config), start, fake)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 128) -> float:
    """Mean W1 of projections on fixed random directions; x and y have as many rows."""
    g = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(x.shape[1], directions, generator=g), dim=0)
    return float(((x @ unit).sort(dim=0).values - (y @ unit).sort(dim=0).values).abs().mean())


def ratio(generator: Generator, world: Mixture, count: int = 2000, rounds: int = 10) -> float:
    """Sliced Wasserstein of student to real over that of real to real, both averaged over draws."""
    of_student = of_real = 0.0
    for i in range(rounds):
        real, source = world.sample(count, seed=1000 + i)
        other, _ = fresh = world.sample(count, seed=2000 + i)
        z = torch.randn(count, 2, generator=torch.Generator().manual_seed(3000 + i))
        with torch.no_grad():
            made = generator(z, Condition(source=fresh[1]))
        if world.link is not None:
            real, other, made = (torch.cat(pair, dim=1) for pair in ((real, source), fresh, (made, fresh[1])))
        of_student += sliced_wasserstein(made, real)
        of_real += sliced_wasserstein(other, real)
    return of_student / of_real


def distil(family: Family, alpha: float, beta: float, updates: int, warm: int = 500, seed: int = 0) -> list[float]:
    """Ratios before and after a distillation."""
    teacher, world = exact_teacher(family)
    x_0, x_T = world.sample(50_000, seed=seed)
    data = Dataset(x_0, name="mixture", sources=x_T if teacher.path.coupled else None)
    config = DistillConfig(
        updates=updates,
        batch=512,
        fake_updates=3,
        alpha=alpha,
        beta=beta,
        alpha_sid=1.0 if alpha == 1 else 0.5,
        generator_lr=1e-3,
        fake_lr=2e-3,
        warmup=20,
        lr_decay="cosine",
        ema=(0.99,),
        space=family.prediction,
        device="cpu",
        seed=seed,
    )
    task = task_from_exact(teacher, student_start(family, data, warm, seed), data, config)
    ratios = [ratio(task.generator, world)]
    for i in range(updates):
        task.update(i)
        task.ema.update()
        if (i + 1) % 250 == 0:
            print(f"  {i + 1}: {ratio(task.ema.averaged(0.99), world):.2f}", flush=True)  # type: ignore[arg-type]
    ratios.append(ratio(task.ema.averaged(0.99), world))  # type: ignore[arg-type]
    return ratios


def main() -> None:
    """Distil the chosen families and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = []
    for name in options.families:
        for objective in options.objectives:
            start = time.perf_counter()
            before, after = distil(FAMILIES[name], *OBJECTIVES[objective], options.updates)
            results.append({"family": name, "objective": objective, "before": before, "ratio": after})
            seconds = time.perf_counter() - start
            print(f"{name:<20} {objective:<10} {before:6.2f} -> {after:5.2f}   {seconds:5.0f} s", flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    assert all(math.isfinite(r["ratio"]) for r in results)


if __name__ == "__main__":
    main()
