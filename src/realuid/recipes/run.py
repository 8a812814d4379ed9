"""Loading the data and building the teacher of a recipe, and the record of a run in its folder."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from realuid.errors import CheckpointError, ConfigError
from realuid.recipes.config import Recipe, load_recipe

if TYPE_CHECKING:
    from realuid.data import Dataset
    from realuid.models import Codec, MatchingModel


#: The file of a run's folder that holds its resolved recipe.
RECIPE = "recipe.yaml"
#: The same of a sweep's folder.
SWEEP = "sweep.yaml"
#: The file of a student's run with one line each for the teacher's name as given, its location and its key.
TEACHER = "teacher.txt"


def recipe_data(recipe: Recipe, teacher: MatchingModel | None = None) -> Dataset:
    """The recipe's data; labels are kept, since evaluation uses them even if training does not.

    Args:
        recipe: whose data.
        teacher: of a distillation, whose path may differ from the recipe's.

    Raises:
        ConfigError: for pairs on a path that does not use them.
        DataError: for missing pairs.
    """
    from realuid.on_data import check_pairs

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
    """A teacher with random weights, seeded by the recipe; on latents where data was prepared with an autoencoder."""
    from realuid.models import MatchingModel, build_network
    from realuid.on_data.latents import LATENT
    from realuid.paths import heads
    from realuid.seeds import mix, seeded

    text = data.columns.get("text")
    if recipe.data.conditional and data.labels is None and text is None:
        raise ConfigError(
            f"data.conditional = true, but '{recipe.data.source}' has no labels. Add them, or pass "
            "--data.no-conditional."
        )
    classes = data.num_classes if recipe.data.conditional else 0
    null_class = recipe.teacher.label_dropout > 0 and text is None
    if null_class and not classes:
        raise ConfigError(f"teacher.label_dropout = {recipe.teacher.label_dropout} needs data.conditional = True.")
    path, codec = recipe.path.build(), _codec_of(data)
    with seeded(mix(recipe.teacher.seed, "teacher start")):
        network = build_network(
            recipe.network,
            tuple(data.columns[LATENT].shape[1:]) if codec else data.shape,
            classes + null_class,
            sees_source=path.coupled and recipe.path.sees_source,
            heads=heads(recipe.path.prediction or path.default_prediction),
            text=0 if text is None else text.shape[-1],
        )
    preconditioning = recipe.path.make_preconditioning()
    model = MatchingModel(network, path, recipe.path.prediction, preconditioning, codec, null_class)
    model.degradation = data.degradation if path.coupled else ""
    model.prompts = recipe.data.prompt_encoder or data.text_from.source
    return model


def _codec_of(data: Dataset) -> Codec | None:
    """The autoencoder of the latents that data was prepared with; None if it has none."""
    from realuid.loaders.codecs import load_autoencoder
    from realuid.on_data.latents import check_latents

    if not data.latents_from.source:
        return None
    codec = load_autoencoder(data.latents_from.source)
    check_latents(codec, data)
    return codec


def learning_copy(teacher: MatchingModel, data: Dataset) -> MatchingModel:
    """A copy of a teacher for further training on data.

    Raises:
        ConfigError: where it does not fit the data, or has no weights.
    """
    from realuid.training.compatibility import check_degradation, check_fits
    from realuid.training.player import able_to_learn

    check_fits(teacher, data)
    check_degradation(teacher, data)
    model = able_to_learn(copy.deepcopy(teacher))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("start: this teacher has no weights to train. Pass one that is a network.")
    return model


def _lasting(name: str) -> str:
    """The location of a teacher independent of the working folder: an absolute path, or its Hub id."""
    from realuid.loaders.formats import lasting

    return lasting(name) if name else name


def recipe_of_run(folder: Path, file: str = RECIPE) -> Recipe:
    """The recipe a run was started with, from a file in its folder.

    Raises:
        CheckpointError: if none was started there.
    """
    if not (folder / file).is_file():
        raise CheckpointError(f"nothing to resume: no run was started in '{folder}' ({file} is missing).")
    return load_recipe(str(folder / file))


def teacher_record(name: str, key: str | None = None) -> str:
    """The text that `teacher_of_run` reads: the teacher's name as given, its location, its key."""
    return f"{name}\n{_lasting(name)}\n{key or ''}\n"


def teacher_of_run(folder: Path) -> tuple[str, str, str | None]:
    """Name as given, location and key of the teacher of a student's run.

    Raises:
        CheckpointError: if the folder is not a student's run.
    """
    if not (folder / TEACHER).is_file():
        raise CheckpointError(f"nothing to resume: no distillation was started in '{folder}' ({TEACHER} is missing).")
    try:
        lines = (folder / TEACHER).read_text().split("\n")
    except ValueError as error:
        raise CheckpointError(f"'{folder / TEACHER}' is damaged ({error}). Pass --teacher.") from error
    name, place, key, *_ = [*lines, "", "", ""]
    return name, place or name, key or None
