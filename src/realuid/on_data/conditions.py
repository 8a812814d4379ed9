"""Conditions used for evaluation samples: classes with the frequencies of the data, or those of real samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Unpack

import torch
from PIL import Image
from torch import Tensor

from realuid.data import Dataset, to_float
from realuid.data.columns import Values
from realuid.data.dataset import Prompts
from realuid.data.grid import grid_image
from realuid.devices import handed_over
from realuid.errors import ConfigError, DataError
from realuid.models import Condition, ConditionSpec, MatchingModel, resize
from realuid.models.networks.condition import LABEL
from realuid.models.networks.prompted import PromptNetwork
from realuid.paths import Path
from realuid.processes import WHOLE, Part
from realuid.sampling import OneStep, SamplingOptions, generate, generate_each_call, spread_labels

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

    Classes as often as the data has them (`frequent_labels`) where a model reads nothing but a class. Otherwise what
    the samples `pair_index` of the data hold under the names that the model declares (on a coupled path their sources
    among them), so that all conditions of a sample belong together.

    Raises:
        DataError: where the data has no column of such a name.
    """
    check_pairs(model, data)
    if [spec.name for spec in model.conditions] == [LABEL]:
        return Condition(label=frequent_labels(data, count))
    return read_conditions(model.conditions, data, pair_index(data, count).to(data.values.device))


def read_conditions(specs: Sequence[ConditionSpec], data: Dataset | Prompts, index: Tensor) -> Condition:
    """The conditions of some samples of the data, or of some of its prompts; images in [-1, 1].

    Args:
        specs: what a model declares.
        data: has a column for each; texts without a column for their mask are text throughout.
        index: numbers of samples, int64, shape (b,).

    Raises:
        DataError: where the data has no column of such a name.
    """

    def rows(name: str) -> Tensor:
        column = data.column(name)
        return column[handed_over(index, column.device)]

    found: dict[str, Tensor] = {}
    for spec in specs:
        value = to_float(rows(spec.name))
        found[spec.name] = value.to(spec.dtype) if value.is_floating_point() else value
        if spec.mask:
            whole = torch.ones(value.shape[:2], dtype=torch.bool, device=value.device)
            found[spec.mask] = rows(spec.mask).bool() if spec.mask in data.columns else whole
    return Condition(found)


def condition_columns(specs: Sequence[ConditionSpec], data: Dataset | Prompts) -> list[Values]:
    """The columns that `read_conditions` reads."""
    masks = [data.columns[spec.mask] for spec in specs if spec.mask in data.columns]
    return [*(data.column(spec.name) for spec in specs), *masks]


def adopt_size(model: MatchingModel | OneStep, data: Dataset) -> None:
    """Let a teacher that is the denoiser of a pipeline make images of the data's height and width.

    Of data in several sizes each is tried, and the first one's is kept.

    Raises:
        ConfigError: for sizes that it cannot make, and data in several sizes for a model of one.
    """
    network = model.network if isinstance(model, MatchingModel) else None
    if data.others and isinstance(model, MatchingModel) and not isinstance(network, PromptNetwork):
        raise ConfigError(
            f"'{data.name}' holds images in {len(data.sizes)} sizes, and the model makes one. Take a text-to-image "
            "teacher of diffusers, or prepare the data without --buckets."
        )
    for part in reversed(data.sizes):
        other = len(part.shape) == len(model.image_shape) and part.shape[1:] != model.image_shape[1:]
        if isinstance(model, MatchingModel) and isinstance(network, PromptNetwork) and other:
            resize(model, part.shape[1:])


def adopt_null(model: MatchingModel, data: Dataset) -> None:
    """Let a model that reads prompts know what data says of them, unless it knows: the empty one, and the encoder."""
    wanted = {name for spec in model.conditions for name in spec.names if spec.kind in ("text", "vector")}
    if model.network.null is None and (nulls := {k: v for k, v in data.nulls.items() if k in wanted}):
        model.network.null = Condition(nulls)
    if wanted and not model.prompts:
        model.prompts = data.text_from.source


def frequent_labels(data: Dataset, count: int) -> Tensor:
    """Labels as often as the data has them, up to one, and spread evenly: shape (count,), see `spread_labels`."""
    return spread_labels(_counts(data), count)


def record_classes(model: MatchingModel, data: Dataset) -> None:
    """Note the names and frequencies of the classes of a model's training data, if it is conditional on them."""
    if model.num_classes and data.labels is not None:
        model.class_names = model.class_names or data.class_names
        model.class_counts = tuple(_counts(data).tolist())


def _counts(data: Dataset) -> Tensor:
    """How often the data has each class, in all sizes, shape (num_classes,)."""
    labels = torch.cat([part.column(LABEL)[:].cpu() for part in data.sizes])
    return torch.bincount(labels, minlength=data.num_classes)


def samples(
    model: MatchingModel | OneStep,
    data: Dataset,
    count: int,
    *,
    seed: int = 0,
    part: Part = WHOLE,
    **how: Unpack[SamplingOptions],
) -> Iterator[Tensor]:
    """Batches of `BATCH` samples under `conditions(model, data, count)`; other arguments are those of `generate`."""
    how = {**how, "condition": conditions(model, data, count)}
    return generate(model, count, seed=seed, batch=BATCH, part=part, **how)


def samples_of_each_call(
    model: MatchingModel | OneStep,
    data: Dataset,
    count: int,
    *,
    seed: int = 0,
    part: Part = WHOLE,
    **how: Unpack[SamplingOptions],
) -> Iterator[list[Tensor]]:
    """The same after 1, 2, ... calls of a student, from one rollout, as `generate_each_call` yields them; under another
    condition, if one is passed.
    """
    if how.get("condition") is None:
        how = {**how, "condition": conditions(model, data, count)}
    return generate_each_call(model, count, seed=seed, batch=BATCH, part=part, **how)


def sample_image(model: MatchingModel | OneStep, data: Dataset, x: Tensor, columns: int = _COLUMNS) -> Image.Image:
    """Samples for `conditions(model, data, len(x))` as one picture.

    On a coupled path of images: triples of input, sample and truth.

    Args:
        model: what made the samples.
        data: where their conditions came from.
        x: samples in data units, shape (n, *shape).
        columns: samples a row where they do not come in triples.
    """
    if not model.coupled or not data.is_image:
        return grid_image(x, columns)
    shown = data.take(pair_index(data, len(x)).to(data.values.device))
    assert shown.sources is not None, "pairs"
    source, truth = to_float(shown.sources), to_float(shown.values)
    return grid_image(torch.stack([source, x.cpu(), truth], dim=1).flatten(0, 1), 3 * _TRIPLES)
