"""Encoders of prompts by their source: a name, or the text encoders of a pipeline from a folder or the Hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from realuid.errors import ConfigError, unknown_name
from realuid.loaders.formats import local_path
from realuid.loaders.sentences import SentenceEncoder, minilm
from realuid.loaders.words import Words
from realuid.models import Condition, MatchingModel, Student
from realuid.models.prompts import POOLED, TEXT, PromptEncoder
from realuid.on_data.prompts import distinct, encode_prompts
from realuid.sampling import OneStep


def load_prompt_encoder(source: str | Path) -> PromptEncoder:
    """What turns prompts into the conditions of a model, in evaluation mode on the CPU.

    Args:
        source: a name in `ENCODERS`; the folder or Hub id of a text-to-image pipeline of diffusers, of which only
            tokenizers and text encoders are loaded; or of a model of sentence-transformers.

    Raises:
        CheckpointError: where nothing is found, or it is damaged.
        ConfigError: for what holds no encoder of prompts.
    """
    if str(source) in ENCODERS:
        return ENCODERS[str(source)]()
    if not Path(source).exists() and "/" not in str(source):
        raise ConfigError(
            f"{unknown_name('prompt encoder', str(source), ENCODERS)} Or pass the folder or Hub id of a text-to-image "
            "pipeline of diffusers."
        )
    folder = local_path(source)
    for file, load in FOLDERS.items():
        if (folder / file).is_file():
            return load(folder, str(source))
    raise ConfigError(
        f"'{source}' holds no encoder of prompts: needed is {', '.join(ENCODERS)}, or the folder or Hub id of a "
        "text-to-image pipeline of diffusers."
    )


def encoder_of(model: MatchingModel | OneStep, source: str = "") -> PromptEncoder:
    """The encoder of a model's prompts.

    Args:
        model: a teacher or student that reads prompts.
        source: of the encoder, if the model does not say it or another one is wanted.

    Raises:
        ConfigError: for a model that reads no prompts, or does not say how.
    """
    if not reads_prompts(model):
        raise ConfigError("prompts: the model reads no prompts. Leave them out.")
    source = source or getattr(_matching(model), "prompts", "")
    if not source:
        raise ConfigError(
            "prompts: the model does not say how it reads them. Pass prompt_encoder (--prompt-encoder): "
            f"{', '.join(ENCODERS)}, or a folder of a pipeline or sentence encoder."
        )
    return load_prompt_encoder(source)


def reads_prompts(model: MatchingModel | OneStep) -> bool:
    """Whether a model is conditioned on what encoders make of prompts."""
    return any(spec.name in (TEXT, POOLED) for spec in model.conditions)


def prompt_condition(
    model: MatchingModel | OneStep, prompts: Sequence[str], count: int, encoder: str | PromptEncoder = ""
) -> Condition:
    """What `count` samples of a model are conditioned on: prompts, in turn.

    A model that does not know the unconditional prompt yet learns it from the encoder, for guidance.

    Args:
        model: a teacher or student that reads prompts.
        prompts: each is encoded once.
        count: how many samples.
        encoder: of the prompts, or its source; '': the model's, see `encoder_of`.

    Raises:
        ConfigError: for a model that reads no prompts, or does not say how; no prompts, and prompts that are too long.
    """
    if isinstance(prompts, str) or not prompts:
        raise ConfigError(f"prompts = {prompts!r}: a list of texts is needed, one at least.")
    encoder = encoder_of(model, encoder) if isinstance(encoder, str) else encoder
    matching = _matching(model)
    if isinstance(matching, MatchingModel) and matching.network.null is None:
        matching.network.null = what_is_read(model, encoder.null())
    names, rows = distinct([prompts[i % len(prompts)] for i in range(count)])
    return what_is_read(model, encode_prompts(names, encoder)).select(torch.tensor(rows))


def what_is_read(model: MatchingModel | OneStep, encoded: Condition) -> Condition:
    """Of encoded prompts, what a model reads: some encoders make pooled vectors as well, which not all models take."""
    read = {name for spec in model.conditions for name in spec.names if spec.name in (TEXT, POOLED)}
    return Condition({name: value for name, value in encoded.items() if name in read})


def _matching(model: MatchingModel | OneStep) -> MatchingModel | OneStep:
    return model.model if isinstance(model, Student) else model


def _sentences(folder: Path, source: str) -> PromptEncoder:
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(f"the sentence encoder '{source}' needs the extra: pip install 'realuid[text]'.")
    return SentenceEncoder(folder, source)


def _pipeline(folder: Path, source: str) -> PromptEncoder:
    try:
        from realuid.loaders.pipeline_prompts import load_pipeline_prompts
    except ImportError as error:
        raise ConfigError(f"the text encoders of '{source}' need the extra: pip install 'realuid[text]'.") from error
    return load_pipeline_prompts(folder, source)


#: Encoders that come with realuid, by name.
ENCODERS: dict[str, Callable[[], PromptEncoder]] = {"words": Words, "minilm": minilm}

#: Encoders in folders: a file that such a folder has, and how it is loaded from the folder and its source.
FOLDERS: dict[str, Callable[[Path, str], PromptEncoder]] = {
    "model_index.json": _pipeline,
    "modules.json": _sentences,
}
