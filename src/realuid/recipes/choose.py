"""The recipe of a run for which none is named: the teacher's own, or one for images of this size. It is always said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from realuid.recipes.config import Recipe, load_recipe
from realuid.recipes.run import RECIPE, recipe_of_run
from realuid.recipes.sections import DataConfig

if TYPE_CHECKING:
    from realuid.data import Dataset
    from realuid.models import MatchingModel

#: Largest side of images -> recipes for noise to grey images, to colour ones on a CPU and on a GPU, and for pairs.
_BY_SIDE = (
    (16, ("demo", "demo", "demo", "digits-bridge")),
    (32, ("mnist", "cifar10-cpu", "cifar10", "cifar10-colour")),
    (2**30, ("celeba64", "celeba64", "celeba64", "cifar10-colour")),
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A recipe and why it was chosen."""

    recipe: Recipe
    reason: str

    @property
    def said(self) -> str:
        """One line for the user."""
        return f"settings: recipe {self.recipe.name}, {self.reason} (name another one, or pass single settings)"


def for_shape(shape: tuple[int, ...], pairs: bool = False, accelerated: bool = False) -> Choice:
    """A recipe for images of a shape.

    Args:
        shape: (channels, height, width).
        pairs: of a coupled path.
        accelerated: on a GPU.
    """
    if len(shape) != 3:
        return Choice(Recipe(), f"whose settings are the defaults, since samples of shape {shape} are no images")
    channels, side = shape[0], max(shape[1:])
    names = next(names for largest, names in _BY_SIDE if side <= largest)
    name = names[3] if pairs else names[0] if channels == 1 else names[2 if accelerated else 1]
    what = "pairs of images" if pairs else "images"
    return Choice(load_recipe(name), f"for {what} of {shape[2]} x {shape[1]}")


def for_pipeline(guidance: float) -> Choice:
    """A recipe for a text-to-image pipeline, which is sampled with a guidance scale unless told otherwise."""
    reason = f"for a text-to-image pipeline, with its usual guidance of {guidance:g}"
    return Choice(load_recipe("text-to-image"), reason)


def for_data(data: Dataset, source: DataConfig) -> Choice:
    """A recipe for training a teacher on data: conditional if the data has labels.

    Args:
        data: loaded.
        source: by which it was loaded.
    """
    choice = for_shape(data.shape, data.sources is not None, _accelerated())
    section = dataclasses.replace(source, conditional=data.labels is not None)
    return dataclasses.replace(choice, recipe=dataclasses.replace(choice.recipe, data=section))


def of_teacher(place: str | Path) -> Choice | None:
    """The recipe by which a teacher was trained, if it is a run of realuid, or a model in one."""
    for folder in (Path(place), Path(place).parent):
        if (folder / RECIPE).is_file():
            recipe = recipe_of_run(folder)
            return Choice(dataclasses.replace(recipe, students={}), f"with which '{place}' was trained")
    return None


def for_teacher(model: MatchingModel) -> Choice:
    """A recipe for distilling a teacher that no recipe is known of; its data is not known either."""
    guidance = model.network.usual_guidance
    if guidance is not None:
        choice = for_pipeline(guidance)
    else:
        choice = for_shape(model.image_shape, model.coupled, _accelerated())
    section = dataclasses.replace(choice.recipe.data, source="", resolution=None, channels=None)
    return dataclasses.replace(choice, recipe=dataclasses.replace(choice.recipe, data=section))


def _accelerated() -> bool:
    from realuid.devices import choose_device

    return choose_device("auto").type != "cpu"
