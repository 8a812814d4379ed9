"""Captions of data as embeddings, computed once for every distinct caption."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from realuid.data import Dataset
from realuid.data.captions import complete
from realuid.data.columns import Rows
from realuid.data.dataset import Origin, Prompts
from realuid.models import Condition
from realuid.models.prompts import PromptEncoder

#: Prompts that an encoder is given at a time.
BATCH = 64


def distinct(captions: Sequence[str]) -> tuple[list[str], list[int]]:
    """The different captions, in order of appearance, and which of them every sample has."""
    number: dict[str, int] = {}
    rows = [number.setdefault(caption, len(number)) for caption in captions]
    return list(number), rows


def encode_prompts(prompts: Sequence[str], encoder: PromptEncoder) -> Condition:
    """Conditions of any number of prompts, one row each, padded to the longest.

    Raises:
        ConfigError: for a prompt that is longer than the encoder reads.
    """
    return Condition.cat([encoder.encode(prompts[start : start + BATCH]) for start in range(0, len(prompts), BATCH)])


def with_embeddings(data: Dataset, encoder: PromptEncoder, prompts: Sequence[str] = ()) -> Dataset:
    """The data with the embeddings of its captions, and the unconditional one, in memory.

    Args:
        data: with a caption for every sample.
        encoder: of prompts.
        prompts: which generated samples are conditioned on instead of the captions.

    Raises:
        DataError: where captions are missing.
        ConfigError: for a caption that is longer than the encoder reads.
    """
    names, rows = distinct([*prompts, *complete(data.captions, data.name)])
    index, table = torch.tensor(rows), encode_prompts(names, encoder)
    listed, shown = index[: len(prompts)].unique(), index[len(prompts) :]
    columns = {**data.columns, **{name: Rows(column, shown) for name, column in table.items()}}
    without = {name: column[listed] for name, column in table.items()}
    return dataclasses.replace(
        data,
        columns=columns,
        nulls=dict(encoder.null()),
        prompts=Prompts(without, [names[i] for i in listed.tolist()], data.name) if prompts else None,
        text_from=Origin(encoder.source, encoder.fingerprint),
    )
