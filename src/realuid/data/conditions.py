"""Conditions used for evaluation samples: classes in balance, or those of real samples."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from realuid.data.dataset import Dataset, to_float
from realuid.data.grid import grid_image
from realuid.errors import DataError
from realuid.models import Condition, MatchingModel
from realuid.models.networks.condition import LABEL
from realuid.paths import Path
from realuid.processes import WHOLE, Part
from realuid.sampling import OneStep, balanced_labels, generate

#: Columns of a picture of samples; one of pairs holds this many triples a row.
_COLUMNS, _TRIPLES = 8, 4
#: Samples made at a time.
BATCH = 500


def check_pairs(needs: Path | MatchingModel | OneStep, data: Dataset) -> None:
    """Raise DataError if a coupled path, or a model on one, is to be trained or sampled without pairs."""
    if needs.coupled and data.sources is None:
        raise DataError(
            f"a coupled path needs pairs, but '{data.name}' has none. Set data.pairs (a degradation, or a folder of "
            "source images), or use a folder with input/ and target/."
        )


def pair_index(data: Dataset, count: int) -> Tensor:
    """Which pairs `count` samples are made for: all in turn, shape (count,)."""
    return torch.arange(count) % len(data)


def conditions(model: MatchingModel | OneStep, data: Dataset, count: int) -> Condition:
    """What `count` samples of a model are conditioned on.

    Balanced classes where a model reads nothing but a class. Otherwise what the samples `pair_index` of the data hold
    under the names that the model declares (on a coupled path their sources among them), so that all conditions of a
    sample belong together.

    Raises:
        DataError: where the data has no column of such a name.
    """
    check_pairs(model, data)
    names = [spec.name for spec in model.conditions]
    if names == [LABEL]:
        return Condition(label=balanced_labels(count, model.num_classes))
    index = pair_index(data, count).to(data.values.device)
    return Condition({name: to_float(data.column(name)[index]) for name in names})


def samples(
    model: MatchingModel | OneStep,
    data: Dataset,
    count: int,
    *,
    steps: int = 50,
    sampler: str | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    part: Part = WHOLE,
) -> Iterator[Tensor]:
    """Batches of `BATCH` samples under `conditions(model, data, count)`; other arguments are those of `generate`."""
    given = conditions(model, data, count)
    return generate(
        model,
        count,
        condition=given,
        steps=steps,
        sampler=sampler,
        guidance=guidance,
        seed=seed,
        batch=BATCH,
        part=part,
    )


def sample_image(model: MatchingModel | OneStep, data: Dataset, x: Tensor, columns: int = _COLUMNS) -> Image.Image:
    """Samples made under `conditions(model, data, len(x))` as one picture.

    On a coupled path of images: triples of input, sample and truth.

    Args:
        model: what made the samples.
        data: where their conditions came from.
        x: samples in data units, shape (n, *shape).
        columns: samples a row where they do not come in triples.
    """
    if not model.coupled or not data.is_image:
        return grid_image(x, columns)
    shown = data.subset(pair_index(data, len(x)).to(data.values.device)).to("cpu")
    source, truth = to_float(shown.sources), to_float(shown.values)  # type: ignore[arg-type]
    return grid_image(torch.stack([source, x.cpu(), truth], dim=1).flatten(0, 1), 3 * _TRIPLES)
