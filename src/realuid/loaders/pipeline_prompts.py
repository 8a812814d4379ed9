"""The text encoders of a pipeline of diffusers: loaded without its other parts, called as the pipeline does."""

from __future__ import annotations

import hashlib
import inspect
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights

from realuid.errors import CheckpointError, ConfigError, DataWarning
from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces import INTERFACES, Interface
from realuid.models.saving.diffusers_weights import quiet_diffusers, read_diffusers_config
from realuid.models.saving.quiet import quiet_transformers

INDEX = "model_index.json"
#: Weights of a text encoder in one file, or the index of several, with a variant.
_WEIGHTS = re.compile(
    r"(?:pytorch_)?model(?:\.(?P<variant>\w+))?\.(?:safetensors|bin)(?:\.index(?:\.(?P<other>\w+))?\.json)?"
)
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
        self._tokenizers = [name for name in vars(pipeline) if name.startswith("tokenizer") and _has(pipeline, name)]
        for name in self._tokenizers:
            object.__setattr__(pipeline, name, _Counting(getattr(pipeline, name)))

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
        with quiet_diffusers():
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


class _Call:
    """Lengths of the texts of one call of a tokenizer, in tokens before truncation, and how many are read."""

    def __init__(self, lengths: list[int], most: int):
        self.lengths, self.most = lengths, most


class _Counting:
    """A tokenizer that remembers how long texts were before it truncated them."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.calls: list[_Call] = []

    def __call__(self, text: Any, *args: Any, **how: Any) -> Any:
        if how.get("truncation"):
            special = how.get("add_special_tokens", True)
            whole = self.tokenizer([text] if isinstance(text, str) else text, add_special_tokens=special, verbose=False)
            most = how.get("max_length") or self.tokenizer.model_max_length
            self.calls.append(_Call([len(ids) for ids in whole.input_ids], most))
        return self.tokenizer(text, *args, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tokenizer"], name)


def _has(pipeline: Any, name: str) -> bool:
    return getattr(pipeline, name) is not None and callable(getattr(pipeline, name))


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
    if interface is None:
        known = ", ".join(p for i in INTERFACES.values() for p in i.pipelines)
        raise ConfigError(f"prompts cannot be encoded by a {kind[:100]}. Supported pipelines: {known}.")
    parts = {name: value for name, value in index.items() if isinstance(value, list) and len(value) == 2}
    read = [name for name, value in parts.items() if name.startswith(("text_encoder", "tokenizer")) and value[1]]
    if not any(name.startswith("text_encoder") for name in read):
        raise ConfigError(
            f"the {kind} in '{source}' has no text encoder, so it cannot read prompts. Pass the folder of a whole "
            "pipeline, or embeddings."
        )
    missing = [name for name in read if not (folder / name).is_dir()]
    if missing:
        raise CheckpointError(f"'{source}' is incomplete: {', '.join(missing)} is missing.")
    settings = {name: value for name, value in index.items() if name not in parts and not name.startswith("_")}
    with quiet_diffusers(), quiet_transformers():
        loaded = {name: _load(folder / name, str(parts[name][1])) for name in read}
        others: dict[str, Any] = {name: None for name in parts if name not in loaded}
        if interface.folder in others and (folder / interface.folder / "config.json").is_file():
            others[interface.folder] = _without_weights(folder / interface.folder, interface)
        pipeline = getattr(diffusers, kind)(**{**others, **loaded, **_known(kind, settings)})
    return PipelinePrompts(pipeline, interface, source, _fingerprint(folder, read))


def _known(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    taken = inspect.signature(getattr(diffusers, kind).__init__).parameters
    return {name: value for name, value in settings.items() if name in taken}


def _without_weights(folder: Path, interface: Interface) -> Any:
    """A denoiser of which only the settings are read, by pipelines that ask for widths."""
    with quiet_diffusers(), init_empty_weights(include_buffers=True):
        return getattr(diffusers, interface.denoiser).from_config(read_diffusers_config(folder / "config.json"))


def _load(folder: Path, class_name: str) -> Any:
    """A tokenizer or a text encoder of transformers.

    Raises:
        CheckpointError: where it is damaged, or weights are missing.
    """
    kind: Any = getattr(transformers, class_name, None)
    if kind is None:
        raise CheckpointError(f"'{folder}' is a {class_name[:100]}, which is no class of transformers.")
    try:
        if "tokenizer" in folder.name:
            return kind.from_pretrained(folder, local_files_only=True)
        how = {"local_files_only": True, "output_loading_info": True, "variant": _variant(folder)}
        model, report = kind.from_pretrained(folder, **how)
    except Exception as error:  # files may say anything; transformers raises nearly every type
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"no {class_name} can be loaded from '{folder}' ({reason}).") from error
    if lacking := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"weights in '{folder}' are incomplete: {len(lacking)} missing, for instance {lacking[0]}."
        )
    return model.eval().requires_grad_(False)


def _variant(folder: Path) -> str | None:
    """The variant of weights, such as fp16, where a folder holds none without."""
    names = [path.name for path in folder.iterdir()]
    found = {m["variant"] or m["other"] for name in names if (m := _WEIGHTS.fullmatch(name))}
    return None if None in found or not found else str(min(found))


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
