"""Carry out a recipe: data, teacher, students, measurements."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from realuid.data import Dataset, check_pairs
from realuid.errors import CheckpointError, ConfigError
from realuid.loaders import load_generator
from realuid.metrics import Evaluator
from realuid.models import Generator, MatchingModel, build_network
from realuid.paths import heads
from realuid.recipes.config import Recipe, dump_recipe, load_recipe
from realuid.recipes.measure import make_evaluator
from realuid.recipes.plan import check_teacher_run
from realuid.seeds import mix, seeded
from realuid.training import DistillConfig, distill_teacher, load_start, train_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.config import LoopConfig
from realuid.training.distill import check_fits
from realuid.training.folder import has_checkpoint, is_finished
from realuid.training.loop import Hopeless
from realuid.training.settings import to_dict
from realuid.training.teacher import check_batch

#: The file of a run's folder that holds its resolved recipe.
RECIPE = "recipe.yaml"
#: The file of a student's run folder that says, line by line, what its teacher was called, where it lies and its key.
TEACHER = "teacher.txt"


def recipe_data(recipe: Recipe, teacher: MatchingModel | None = None) -> Dataset:
    """The recipe's data; labels stay, since measuring uses them even where training does not.

    Args:
        recipe: whose data.
        teacher: what is distilled on it, which may be on another path than the recipe's.

    Raises:
        ConfigError: for pairs where they have no use.
        DataError: where they are missing.
    """
    path = recipe.path.build() if teacher is None else teacher.path
    if recipe.data.pairs and not path.coupled:
        whose = "path" if teacher is None else "the teacher's path"
        raise ConfigError(
            f"data.pairs = {recipe.data.pairs}: {whose} '{path.name}' starts from noise and has no use for pairs. Set "
            f"data.pairs = None, or take {'a coupled path' if teacher is None else 'a teacher on a coupled path'}."
        )
    data = recipe.data.load()
    check_pairs(path, data)
    return data


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
    with seeded(mix(recipe.teacher.seed, "teacher start")):
        network = build_network(
            recipe.network,
            data.shape,
            classes + null_class,
            sees_source=path.coupled and recipe.path.sees_source,
            heads=heads(recipe.path.prediction or path.default_prediction),
        )
    preconditioning = recipe.path.make_preconditioning()
    model = MatchingModel(network, path, recipe.path.prediction, preconditioning, null_class=null_class)
    model.degradation = data.degradation if path.coupled else ""
    return model


def _evaluator_if_due(data: Dataset, recipe: Recipe, config: LoopConfig) -> Evaluator | None:
    if not config.evaluate_every:
        return None
    return make_evaluator(data, recipe.evaluate, make_accelerator(config).device)


def run_teacher(recipe: Recipe, folder: Path, resume: bool = False, data: Dataset | None = None) -> MatchingModel:
    """Train the recipe's teacher; the run is written to `folder`. `data`: the recipe's, where it is at hand."""
    data = data or recipe_data(recipe)
    check_batch(recipe.teacher.batch, data)
    model = new_teacher(recipe, data)
    check_teacher_run(model, recipe.teacher.steps)
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
            **({"published_fid": recipe.published["teacher"]} if "teacher" in recipe.published else {}),
        },
        files={RECIPE: dump_recipe(recipe.anchored())},
    )


def run_student(
    recipe: Recipe,
    teacher: MatchingModel,
    folder: Path,
    *,
    config: DistillConfig | None = None,
    start: Generator | MatchingModel | None = None,
    fake: MatchingModel | None = None,
    resume: bool = False,
    teacher_name: str = "",
    teacher_key: str | None = None,
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
        start: a distilled generator to go on from, or a model to make one of.
        fake: weights the fake model starts from.
        resume: continue the run in `folder`.
        teacher_name, teacher_key: where the teacher lies and which of its weights are meant, for the record and for
            resuming.
        about: further sections of the saved model's config.json.
        data, evaluator: where they are at hand; otherwise they are read and made.
        hopeless: see `Run`.
    """
    data = data or recipe_data(recipe, teacher)
    config = config or recipe.distill
    if isinstance(start, Generator):  # so that the saved settings are enough to resume
        config = config.of_student(start)
    check_fits(teacher, data)
    evaluator = evaluator if evaluator and config.evaluate_every else _evaluator_if_due(data, recipe, config)
    return distill_teacher(
        teacher,
        data,
        config,
        folder,
        start=start,
        fake=fake,
        evaluator=evaluator,
        resume=resume,
        about={
            "data": to_dict(recipe.data),
            "teacher": teacher_name,
            **({} if teacher_key is None else {"teacher_key": teacher_key}),
            **(about or {}),
        },
        files={
            RECIPE: dump_recipe(dataclasses.replace(recipe.anchored(), distill=config)),
            TEACHER: teacher_record(teacher_name, teacher_key),
        },
        hopeless=hopeless,
    )


def _lasting(name: str) -> str:
    """What finds a teacher from whatever folder the run is resumed in: an absolute path, or the id on a hub it was."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name


def run_named_student(
    recipe: Recipe,
    name: str,
    teacher: MatchingModel,
    folder: Path,
    *,
    teacher_name: str = "",
    teacher_key: str | None = None,
    chain: bool = False,
    data: Dataset | None = None,
) -> Generator:
    """Make one of the recipe's students, in `folder / name`.

    Args:
        recipe, name: which student.
        teacher: what is distilled.
        folder: of all students of the recipe. A fine-tuned one starts from its origin's run there.
        teacher_name, teacher_key: as for `run_student`.
        chain: go on from what an earlier call left: finished runs are read, unfinished ones resumed, and the students
            that this one starts from are made first.
        data: the recipe's, where it is at hand.
    """
    origin, run = recipe.origin(name), folder / name
    if chain and is_finished(run):
        return load_generator(run)
    if chain and origin:
        names = {"teacher_name": teacher_name, "teacher_key": teacher_key}
        run_named_student(recipe, origin.student, teacher, folder, **names, chain=True, data=data)  # type: ignore[arg-type]
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
        teacher_key=teacher_key,
        about=about,
        data=data,
    )


def recipe_of_run(folder: Path, file: str = RECIPE) -> Recipe:
    """The recipe a run was started with, from a file in its folder.

    Raises:
        CheckpointError: where none was started.
    """
    if not (folder / file).is_file():
        raise CheckpointError(f"nothing to resume: no run was started in '{folder}' ({file} is missing).")
    return load_recipe(str(folder / file))


def teacher_record(name: str, key: str | None = None) -> str:
    """What `teacher_of_run` reads: the teacher's name as given, where it lies from any working folder, its key."""
    return f"{name}\n{_lasting(name)}\n{key or ''}\n"


def teacher_of_run(folder: Path) -> tuple[str, str, str | None]:
    """What the teacher of a student's run was called, where it lies, and which of its weights it is.

    Raises:
        CheckpointError: where the folder is no student's run.
    """
    if not (folder / TEACHER).is_file():
        raise CheckpointError(f"nothing to resume: no distillation was started in '{folder}' ({TEACHER} is missing).")
    name, place, key, *_ = [*(folder / TEACHER).read_text().splitlines(), "", "", ""]
    return name, place or name, key or None
