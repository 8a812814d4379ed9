"""Carry out a recipe: data, teacher, students, measurements."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from realuid._version import __version__
from realuid.data import Dataset, check_pairs, conditions, samples
from realuid.errors import CheckpointError, ConfigError
from realuid.files import write_json
from realuid.metrics import Classifier, ClassScores, Evaluator, Restoration, class_scores, classifier, make_extractor
from realuid.models import Generator, MatchingModel, build_network, make_preconditioning, model_device
from realuid.models.saving import CONFIG
from realuid.paths import heads
from realuid.recipes.config import EvaluateConfig, Recipe, dump_recipe
from realuid.reports import write_report
from realuid.sampling import SAMPLERS, OneStep
from realuid.seeds import mix
from realuid.teachers import load_generator
from realuid.training import DistillConfig, distill_teacher, load_start, train_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.checkpoints import Checkpoints
from realuid.training.config import LoopConfig, to_dict
from realuid.training.distill import check_fits
from realuid.training.loop import Hopeless
from realuid.training.teacher import check_batch

#: The file of a run's folder that holds its resolved recipe.
RECIPE = "recipe.yaml"
#: The file of a student's run folder that says what its teacher was called and, in the next line, where it lies.
TEACHER = "teacher.txt"


def recipe_data(recipe: Recipe) -> Dataset:
    """The recipe's data; labels stay, since measuring uses them even where training does not."""
    data = recipe.data.load()
    check_pairs(recipe.path.build(), data)
    return data


def make_evaluator(data: Dataset, config: EvaluateConfig, device: torch.device | str = "cpu") -> Evaluator:
    """The evaluator for a data set: its feature extractor and the data's statistics, cached."""
    return Evaluator(data, make_extractor(config.extractor, data, config.inception_weights), device)


def new_teacher(recipe: Recipe, data: Dataset) -> MatchingModel:
    """A teacher with random weights, seeded by the recipe."""
    if recipe.data.conditional and data.labels is None:
        raise ConfigError(
            f"data.conditional = true, but '{recipe.data.source}' has no labels. Add them, or pass "
            "--data.no-conditional."
        )
    classes, null_class = data.num_classes if recipe.data.conditional else 0, recipe.teacher.label_dropout > 0
    if null_class and not classes:
        raise ConfigError(f"teacher.label_dropout = {recipe.teacher.label_dropout} needs data.conditional = True.")
    path = recipe.path.build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix(recipe.teacher.seed, "teacher start"))
        network = build_network(
            recipe.network,
            data.shape,
            classes + null_class,
            sees_source=path.coupled and recipe.path.sees_source,
            heads=heads(recipe.path.prediction or path.default_prediction),
        )
    preconditioning = make_preconditioning(recipe.path.preconditioning)
    return MatchingModel(network, path, recipe.path.prediction, preconditioning, null_class=null_class)


def _evaluator_if_due(data: Dataset, recipe: Recipe, config: LoopConfig) -> Evaluator | None:
    if not config.evaluate_every:
        return None
    return make_evaluator(data, recipe.evaluate, make_accelerator(config).device)


def run_teacher(recipe: Recipe, folder: Path, resume: bool = False) -> MatchingModel:
    """Train the recipe's teacher; the run is written to `folder`."""
    data = recipe_data(recipe)
    check_batch(recipe.teacher.batch, data)
    model = new_teacher(recipe, data)
    evaluator = _evaluator_if_due(data, recipe, recipe.teacher)
    return train_teacher(
        model,
        data,
        recipe.teacher,
        folder,
        evaluator=evaluator,
        resume=resume,
        about={
            "data": to_dict(recipe.data),
            "training": to_dict(recipe.teacher),
            **({"published_fid": recipe.published["teacher"]} if "teacher" in recipe.published else {}),
        },
        files={RECIPE: dump_recipe(recipe)},
    )


def run_student(
    recipe: Recipe,
    teacher: MatchingModel,
    folder: Path,
    *,
    config: DistillConfig | None = None,
    start: Generator | None = None,
    resume: bool = False,
    teacher_name: str = "",
    about: dict[str, Any] | None = None,
    data: Dataset | None = None,
    evaluator: Evaluator | None = None,
    hopeless: Hopeless | None = None,
) -> Generator:
    """Distil a teacher by the recipe (or by `config` in place of its `distill` section).

    Args:
        recipe: data, distillation and evaluation.
        teacher: the model to distil.
        folder: of the run.
        config: what differs from `recipe.distill`, complete.
        start: a distilled generator to go on from.
        resume: continue the run in `folder`.
        teacher_name: where the teacher lies, for the record and for resuming.
        about: further sections of the saved model's config.json.
        data, evaluator: where they are at hand; otherwise they are read and made.
        hopeless: see `Run`.
    """
    data = data or recipe_data(recipe)
    config = config or recipe.distill
    if start is not None:  # so that the saved settings are enough to resume
        config = config.of_generator(start.t_init, start.noise)
    check_fits(teacher, data)
    evaluator = evaluator if evaluator and config.evaluate_every else _evaluator_if_due(data, recipe, config)
    return distill_teacher(
        teacher,
        data,
        config,
        folder,
        start=start,
        evaluator=evaluator,
        resume=resume,
        about={
            "data": to_dict(recipe.data),
            "teacher": teacher_name,
            "distillation": to_dict(config),
            **(about or {}),
        },
        files={
            RECIPE: dump_recipe(dataclasses.replace(recipe, distill=config)),
            TEACHER: teacher_text(teacher_name),
        },
        hopeless=hopeless,
    )


def _lasting(name: str) -> str:
    """What finds a teacher from whatever folder the run is resumed in: an absolute path, or the id on a hub it was."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name


def run_named_student(
    recipe: Recipe, name: str, teacher: MatchingModel, folder: Path, *, teacher_name: str = "", chain: bool = False
) -> Generator:
    """Make one of the recipe's students, in `folder / name`.

    Args:
        recipe, name: which student.
        teacher: what is distilled.
        folder: of all students of the recipe. A fine-tuned one starts from its origin's run there.
        teacher_name: for the saved model.
        chain: go on from what an earlier call left: finished runs are read, unfinished ones resumed, and the students
            that this one starts from are made first.
    """
    origin, run = recipe.origin(name), folder / name
    if chain and is_finished(run):
        return load_generator(run)
    if chain and origin:
        run_named_student(recipe, origin.student, teacher, folder, teacher_name=teacher_name, chain=True)
    about: dict[str, Any] = {}
    if origin:
        about["start"] = {"student": str(folder / origin.student), "ema": origin.ema or "best"}
    if name in recipe.published:
        about["published_fid"] = recipe.published[name]
    return run_student(
        recipe,
        teacher,
        run,
        config=recipe.student(name),
        start=load_start(folder / origin.student, origin.ema) if origin else None,
        resume=chain and has_checkpoint(run),
        teacher_name=teacher_name,
        about=about,
    )


def is_finished(run: Path) -> bool:
    """Whether a run's folder holds its result."""
    return (run / "model" / CONFIG).is_file()


def has_checkpoint(run: Path) -> bool:
    """Whether a run's folder holds something to resume from."""
    return bool(Checkpoints(run / "checkpoints").steps())


def teacher_text(name: str) -> str:
    """What a run's `TEACHER` file says of a teacher, for `teacher_of_run` to read."""
    return f"{name}\n{_lasting(name)}\n"


def teacher_of_run(folder: Path) -> tuple[str, str]:
    """What the teacher of a student's run was called, and where it lies.

    Raises:
        CheckpointError: where the folder is neither a student's run nor a sweep.
    """
    if not (folder / TEACHER).is_file():
        raise CheckpointError(f"nothing to resume: no distillation was started in '{folder}' ({TEACHER} is missing).")
    name, *place = (folder / TEACHER).read_text().splitlines()
    return name, place[0] if place else name


@dataclass(frozen=True)
class Measurement:
    """What is known about the quality of a model; lists hold one number a seed."""

    fd: list[float]
    kid: list[float]
    precision: list[float]
    recall: list[float]
    samples: int
    calls: int
    #: How well pairs are restored, see `realuid.metrics.Restoration`; empty where samples do not come in pairs.
    restoration: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, with mean and spread (sample standard deviation) of fd."""
        spread = statistics.stdev(self.fd) if len(self.fd) > 1 else 0.0
        return {
            "calls": self.calls,
            "samples": self.samples,
            "fd": self.fd,
            "fd_mean": statistics.mean(self.fd),
            "fd_std": spread,
            "kid": statistics.mean(self.kid),
            "precision": statistics.mean(self.precision),
            "recall": statistics.mean(self.recall),
            **self.restoration,
        }


def calls_of(model: MatchingModel | OneStep, config: EvaluateConfig) -> int:
    """Network calls a sample."""
    if not isinstance(model, MatchingModel):
        return 1
    calls = SAMPLERS[config.sampler or model.default_sampler].calls(config.steps)
    return calls if config.guidance == 1 else 2 * calls


def measure(
    model: MatchingModel | OneStep, evaluator: Evaluator, config: EvaluateConfig, full: bool = True
) -> Measurement:
    """FD, KID, precision and recall over several seeds, and how well pairs are restored where there are any.

    Args:
        model: teacher or generator.
        evaluator: data and features to compare with.
        config: samples, seeds, and how a teacher is sampled.
        full: also KID, precision and recall (NaN otherwise).
    """
    data = evaluator.data
    restoration = Restoration(data, label_classifier(evaluator)) if model.coupled and data.is_image else None
    scores = []
    for seed in range(config.seeds):
        batches = _samples(model, data, config.samples, config, seed=mix("fd", seed))
        scores.append(evaluator.score(batches if restoration is None else restoration.watch(batches), full))
    columns = {name: [getattr(s, name) for s in scores] for name in ("fd", "kid", "precision", "recall")}
    restored = {} if restoration is None else restoration.figures()
    return Measurement(**columns, samples=config.samples, calls=calls_of(model, config), restoration=restored)


def label_classifier(evaluator: Evaluator) -> Classifier | None:
    """The evaluator's feature extractor, where it is a classifier of the data's labels."""
    extractor = evaluator.extractor
    return extractor if isinstance(extractor, Classifier) and evaluator.data.labels is not None else None


def _samples(
    model: MatchingModel | OneStep, data: Dataset, count: int, config: EvaluateConfig, seed: int = 0
) -> Iterator[Tensor]:
    return samples(model, data, count, steps=config.steps, sampler=config.sampler, guidance=config.guidance, seed=seed)


def measure_classes(model: MatchingModel | OneStep, evaluator: Evaluator, config: EvaluateConfig) -> ClassScores | None:
    """Agreement of a separate classifier with the class asked for, and FD by class; None for unconditional models."""
    data = evaluator.data
    if not model.num_classes or not data.is_image:
        return None
    labels = conditions(model, data, config.samples).labels
    assert labels is not None, "the model is conditional"
    batches = _samples(model, data, config.samples, config, seed=mix("classes"))
    # seed 1: the evaluator's own features come from the classifier of seed 0
    return class_scores(batches, labels.cpu(), evaluator, classifier(data, seed=1))


def images_per_second(
    models: dict[str, MatchingModel | Generator],
    data: Dataset,
    config: EvaluateConfig,
    batch: int = 500,
    rounds: int = 3,
) -> dict[str, float]:
    """Sampling speed of several models, measured in turns (medians), so that a machine's moods hit all alike."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds + 1):  # the first is a warm-up
        for name, model in models.items():
            times[name].append(_seconds(model, data, config, batch))
    return {name: batch / statistics.median(seconds[1:]) for name, seconds in times.items()}


def _seconds(model: MatchingModel | Generator, data: Dataset, config: EvaluateConfig, batch: int) -> float:
    synchronise: Callable[[], None] = torch.cuda.synchronize if model_device(model).type == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    for _ in _samples(model, data, batch, config):
        pass
    synchronise()
    return time.perf_counter() - start


def run_demo(recipe: Recipe, folder: Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Train a teacher, distil every student of the recipe, measure all of them.

    Args:
        recipe: with at least one entry in `students`.
        folder: gets teacher/, one folder a student, results.json and report.html.
        say: told what happens.

    Returns:
        what results.json holds.
    """
    if not recipe.students:
        raise ConfigError(
            f"recipe '{recipe.name}' has no students: add at least one, for instance {{uid: {{alpha: 1}}}}."
        )
    data = recipe_data(recipe)
    say(f"data: {data.name}, {len(data)} images of shape {data.shape}")
    start = time.perf_counter()
    models: dict[str, MatchingModel | Generator] = {}
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], MatchingModel | Generator]) -> None:
        began = time.perf_counter()
        models[name] = work()
        seconds[name] = time.perf_counter() - began

    evaluator = make_evaluator(data, recipe.evaluate)
    timed("teacher", lambda: run_teacher(recipe, folder / "teacher"))
    teacher = models["teacher"]
    assert isinstance(teacher, MatchingModel)
    for name in recipe.students:
        student = partial(run_named_student, recipe, name, teacher, folder)
        timed(name, partial(student, teacher_name=str(folder / "teacher")))
    say("measuring")
    rates = images_per_second(models, data, recipe.evaluate)
    entries = {
        name: {
            "name": name,
            **measure(model, evaluator, recipe.evaluate).to_dict(),
            "images_per_second": rates[name],
            "train_seconds": seconds[name],
        }
        for name, model in models.items()
    }
    for name in recipe.students:
        config = recipe.student(name)
        entries[name] |= {"alpha": config.alpha, "beta": config.beta, "alpha_sid": config.alpha_sid}
        entries[name] |= {"objective": config.objective, "lambda_g": config.lambda_g}
        if origin := recipe.origin(name):
            entries[name]["start"] = origin.student
    for name, model in models.items():
        if scores := measure_classes(model, evaluator, recipe.evaluate):
            entries[name]["classes"] = scores.to_dict()
    for name in recipe.published.keys() & entries.keys():
        entries[name]["published_fid"] = recipe.published[name]
    results = {
        "recipe": recipe.name,
        "data": data.name,
        "extractor": evaluator.extractor.key,
        "fd_between_halves": fd_between_halves(evaluator),
        "teacher": entries["teacher"],
        "students": [entries[name] for name in recipe.students],
        "seconds": time.perf_counter() - start,
        "threads": torch.get_num_threads(),
        "device": str(model_device(teacher)),
        "torch": torch.__version__,
        "realuid": __version__,
    }
    write_json(folder / "results.json", results)
    how = recipe.evaluate
    write_report(folder, results, models, data, dump_recipe(recipe), how.steps, how.sampler, how.guidance)
    return results


def fd_between_halves(evaluator: Evaluator, splits: int = 10) -> float:
    """FD between two random halves of the real data, mean over several splits: a yardstick for the FD of models."""
    distances = []
    for seed in range(splits):
        order = torch.randperm(len(evaluator.data), generator=torch.Generator().manual_seed(seed))
        distances.append(evaluator.distance(*(evaluator.data.values[half] for half in order.tensor_split(2))))
    return statistics.mean(distances)
