"""The text encoders of a pipeline of diffusers: loaded without its other parts, called as the pipeline does."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from realuid.errors import CheckpointError, ConfigError, DataWarning
from realuid.loaders.pipeline_parts import INDEX, Unloaded, assembled, is_pipeline, readers, without_weights
from realuid.loaders.recording import RecordedPrompts
from realuid.loaders.text_parts import Counting
from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces import INTERFACES, Interface
from realuid.models.saving.diffusers_weights import quiet_diffusers, read_diffusers_config
from realuid.models.saving.quiet import quiet_transformers
from realuid.reading import blamed

#: Prompts encoded at a time.
_BATCH = 32
#: Of a file of weights, so many blocks of this many bytes enter a fingerprint: any training changes them all.
_BLOCKS, _BLOCK = 64, 1 << 16


class PipelinePrompts:
    """Tokenizers and text encoders of a pipeline, through its own `encode_prompt`: a `PromptEncoder`.

    Args:
        pipeline: of diffusers, without its other parts.
        interface: which names what it answers.
        source: what it was loaded from.
        fingerprint: of its files.
    """

    def __init__(self, pipeline: Any, interface: Interface, source: str, fingerprint: str):
        self.pipeline, self.interface = pipeline, interface
        self.source, self.fingerprint = source, fingerprint
        self._tokenizers = [name for name, part in vars(pipeline).items() if isinstance(part, Counting)]

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Condition:
        """Conditions of prompts, one row each, on the CPU, in the precision of the text encoders.

        Raises:
            ConfigError: for no prompt, or one that is longer than all of the text encoders read.
        """
        if isinstance(prompts, str) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
            raise ConfigError("prompts must be a list of at least one text.")
        found = []
        for start in range(0, len(prompts), _BATCH):
            part = list(prompts[start : start + _BATCH])
            found.append(self._called(lambda part=part: self.interface.encode(self.pipeline, part)))
            self._check_lengths(part)
        return Condition.cat(found)

    @torch.no_grad()
    def null(self) -> Condition:
        """The unconditional condition, one row with the entries of `encode`."""
        return self._called(lambda: self.interface.null(self.pipeline))

    def _called(self, function: Any) -> Condition:
        for name in self._tokenizers:
            getattr(self.pipeline, name).calls.clear()
        with quiet_diffusers(), quiet_transformers(), blamed(f"prompts cannot be encoded by '{self.source}'"):
            condition: Condition = function()
            return condition.to("cpu")

    def _check_lengths(self, prompts: list[str]) -> None:
        """Raise ConfigError for a prompt of which every tokenizer left out a part; warn where only some did."""
        read = [getattr(self.pipeline, name).calls for name in self._tokenizers]
        cut = 0
        for row, prompt in enumerate(prompts):
            lengths = [(call.lengths[row], call.most) for calls in read for call in calls if row < len(call.lengths)]
            if lengths and all(length > most for length, most in lengths):
                length, most = max(lengths, key=lambda pair: pair[1])
                raise ConfigError(
                    f"the prompt '{prompt[:40]}...' has {length} tokens, but the model reads {most}: shorten it."
                )
            cut += any(length > most for length, most in lengths)
        if cut:
            shortest = min(call.most for calls in read for call in calls)
            warnings.warn(
                f"{cut} of {len(prompts)} prompts have more than {shortest} tokens: one of the model's text encoders "
                "reads only the first ones, another all of them.",
                DataWarning,
                stacklevel=4,
            )


def load_pipeline_prompts(folder: Path, source: str) -> PipelinePrompts:
    """The encoder of prompts of a pipeline's folder.

    Args:
        folder: with model_index.json.
        source: what the user called it.

    Raises:
        CheckpointError: where a part is missing or damaged.
        ConfigError: for a pipeline without text encoders, or one that is not known here.
    """
    index = read_diffusers_config(folder / INDEX)
    kind = str(index.get("_class_name", ""))
    interface = next((i for i in INTERFACES.values() if kind in i.pipelines), None)
    if interface is None and not is_pipeline(kind):
        known = ", ".join(p for i in INTERFACES.values() for p in i.pipelines)
        raise ConfigError(f"prompts cannot be encoded by a {kind[:100]}. Supported pipelines: {known}.")
    read = readers(index)
    if not any(name.startswith("text_encoder") for name in read):
        raise ConfigError(
            f"the {kind} in '{source}' has no text encoder, so it cannot read prompts. Pass the folder of a whole "
            "pipeline, or embeddings."
        )
    missing = [name for name in read if not (folder / name).is_dir()]
    if missing:
        raise CheckpointError(f"'{source}' is incomplete: {', '.join(missing)} is missing.")
    part = interface.folder if interface else next((n for n in ("transformer", "unet") if n in index), "")
    settings = (folder / part / "config.json").is_file() and part in index
    if interface is None:
        if not settings:
            raise CheckpointError(f"'{source}' is incomplete: its denoiser is missing.")
        pipeline = assembled(folder, {part: Unloaded(without_weights(folder / part))})
        return PipelinePrompts(pipeline, RecordedPrompts(pipeline, part), source, _fingerprint(folder, read))
    pipeline = assembled(folder, {part: without_weights(folder / part)} if settings else {})
    return PipelinePrompts(pipeline, interface, source, _fingerprint(folder, read))


def _fingerprint(folder: Path, parts: Sequence[str]) -> str:
    """Shortened SHA-256 of the files of tokenizers and text encoders: of weights, their size and blocks of them."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        for path in sorted(p for p in (folder / name).rglob("*") if p.is_file() and p.suffix != ".md"):
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder)} {size}".encode())
            with path.open("rb") as file:
                for k in range(_BLOCKS if size > _BLOCKS * _BLOCK else 1):
                    file.seek(k * size // _BLOCKS)
                    digest.update(file.read(_BLOCK if size > _BLOCKS * _BLOCK else -1))
    return digest.hexdigest()[:16]
