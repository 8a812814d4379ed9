"""How many real images belong into a batch of the fake step? Gradient noise in either stratum, shares, and batches.

    python benchmarks/gradient_variance.py --teacher runs/demo/teacher [--recipe demo] [--updates 30] [--samples 200]

After a few updates of the game, the spread of single-sample gradients is measured in either stratum: S_g of generated
and S_r of real samples, weights included. A batch of n_g generated and n_r real ones has variance S_g^2 / n_g + S_r^2 /
n_r and costs (3 + 1/K) n_g + 3 n_r forwards (generated images have to be generated first, once for K steps). Every
share is judged by variance times cost, relative to equal batches; the best is n_r / n_g = sqrt(1 + 1/(3K)) S_r / S_g,
Neyman's with costs.

Then the variance of whole batches' gradients, as an update has them: either player's, with times and classes stratified
as training draws them, relative to the published recipe's (equal batches, everything drawn independently); and that of
the mean over a turn's K steps, which share their images in training, relative to K independent ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from realuid.files import write_json
from realuid.loaders import load_teacher
from realuid.paths import sample_times
from realuid.recipes import load_recipe
from realuid.recipes.run import recipe_data
from realuid.training import DistillTask
from realuid.training.accelerate import make_accelerator
from realuid.training.costs import generated_cost
from realuid.training.draws import Draw
from realuid.training.updates import fake_loss, generated_images, generator_loss

PAIRS = ((0.92, 0.94), (0.92, 0.86), (0.96, 0.98), (0.88, 0.90), (0.94, 1.0))


def spread(gradient: Callable[[int], Tensor], count: int) -> float:
    """Square root of the trace of the covariance of `count` independent gradients."""
    total, squares = torch.zeros(()), 0.0
    for i in range(count):
        g = gradient(i)
        total, squares = total + g, squares + g.square().sum().item()
    return math.sqrt((squares - (total / count).square().sum().item() * count) / (count - 1))


def strata(task: DistillTask, count: int) -> tuple[float, float]:
    """S_g and S_r of the fake step, from single samples."""
    one, none = slice(0, 1), slice(0, 0)

    def gradient(generated: bool, i: int) -> Tensor:
        fake = task.batches.generated("spread", i, 2).select(one if generated else none)
        real = task.batches.real("spread real", i, 2).select(none if generated else one)
        made = fake.showing(generated_images(task.generator, fake))
        loss = fake_loss(task.fake, task.game, made, real, 1, 1)
        return gradient_of(loss, task.fake)

    return spread(lambda i: gradient(True, i), count), spread(lambda i: gradient(False, i), count)


def of_batches(task: DistillTask, count: int) -> dict[str, float]:
    """Variance of `count` batches' gradients, relative to equal batches (fake) and independent draws (both players)."""
    c, device = task.config, task.batches.device
    random = torch.Generator(device).manual_seed(0)

    def independent(draw: Draw) -> Draw:
        """With times and, if generated, classes drawn one by one."""
        t = sample_times("path", task.path, torch.rand(len(draw), generator=random, device=device))
        labels = task.batches.data.labels
        if draw.x_0 is not None or labels is None:
            return dataclasses.replace(draw, t=t)
        own = labels.to(device)[torch.randint(len(labels), t.shape, generator=random, device=device)]
        return dataclasses.replace(draw, t=t, condition=draw.condition.replace(label=own))

    def fake(i: int, real_batch: int, stratified: bool) -> Tensor:
        draws = task.batches.generated("batch", i, c.batch), task.batches.real("batch real", i, real_batch)
        generated, real = draws if stratified else map(independent, draws)
        return of_draws(generated.showing(generated_images(task.generator, generated)), real, real_batch)

    def of_draws(made: Draw, real: Draw, real_batch: int) -> Tensor:
        return gradient_of(fake_loss(task.fake, task.game, made, real, c.batch, real_batch), task.fake)

    def turn(i: int, shared: bool) -> Tensor:
        """Mean gradient of K steps."""
        steps = range(i * c.fake_updates, (i + 1) * c.fake_updates)
        if not shared:
            return torch.stack([fake(step, c.batch, False) for step in steps]).mean(0)
        draws = zip(steps, task._shown(task.batches.turn("turn", i, c.batch)), strict=False)
        real = ((draw, task.batches.real("turn real", step, c.real_batch)) for step, draw in draws)
        return torch.stack([of_draws(*pair, c.real_batch) for pair in real]).mean(0)

    def generator(i: int, stratified: bool) -> Tensor:
        draw = task.batches.generated("batch", i, c.batch)
        draw = draw if stratified else independent(draw)
        return gradient_of(generator_loss(task.generator, task.fake, task.game, draw, c.batch).loss, task.generator)

    ways = ((c.batch, False), (c.real_batch, False), (c.real_batch, True))
    equal, unequal, stratified = (spread(lambda i, way=way: fake(i, *way), count) for way in ways)
    drawn, stratified_too = (spread(lambda i, way=way: generator(i, way), count) for way in (False, True))
    apart, shared = (spread(lambda i, way=way: turn(i, way), count // 2) for way in (False, True))
    return {
        "fake, share by rule": (unequal / equal) ** 2,
        "fake, share by rule, stratified": (stratified / equal) ** 2,
        "fake, mean of a turn": (shared / apart) ** 2,
        "generator, stratified": (stratified_too / drawn) ** 2,
    }


def gradient_of(loss: Tensor, module: torch.nn.Module) -> Tensor:
    """Of a loss in a module's parameters, as one vector."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


def judge(s_g: float, s_r: float, share: float, generated_cost: float) -> float:
    """Variance times cost of a share of real images, relative to equal batches."""
    product = (s_g**2 + s_r**2 / share) * (generated_cost + share)
    return product / ((s_g**2 + s_r**2) * (generated_cost + 1))


def main(arguments: list[str] | None = None) -> list[dict]:
    """Print one line of JSON for every (alpha, beta)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--data", help="instead of the recipe's data source")
    parser.add_argument("--updates", type=int, default=30, help="of the game before measuring")
    parser.add_argument("--fake-updates", type=int, default=5, help="K")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="how many of (alpha, beta)")
    parser.add_argument("--samples", type=int, default=200, help="single gradients in either stratum")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=200, help="whose gradients are taken, five times over")
    parser.add_argument("--out", type=Path, default=Path("runs/gradient_variance.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    recipe = load_recipe(options.recipe)
    if options.data:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=options.data))
    data, teacher, rows = recipe_data(recipe), load_teacher(options.teacher), []
    for alpha, beta in PAIRS[: options.pairs]:
        game = {"alpha": alpha, "beta": beta, "batch": options.batch, "fake_updates": options.fake_updates}
        config = dataclasses.replace(recipe.distill, **game)
        task = DistillTask(teacher, data, config, make_accelerator(config))
        for number in range(options.updates):
            task.update(number)
        s_g, s_r = strata(task, options.samples)
        cost = generated_cost(config.fake_updates)
        shares = {
            "best": min(1.0, math.sqrt(cost) * s_r / s_g),
            "an eighth": 0.125,
            "(1 - alpha) / alpha": (1 - alpha) / alpha,
            "rule": config.share,
        }
        rows.append(
            {
                "alpha": alpha,
                "beta": beta,
                "S_r / S_g": s_r / s_g,
                "shares": shares,
                "variance x cost": {name: judge(s_g, s_r, share, cost) for name, share in shares.items()},
                "variance": {n: (s_g**2 + s_r**2 / share) / (s_g**2 + s_r**2) for n, share in shares.items()},
                "variance of batches": of_batches(task, options.batches),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    write_json(options.out, rows)
    return rows


if __name__ == "__main__":
    main()
