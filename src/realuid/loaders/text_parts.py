"""Tokenizers and text encoders of transformers from untrusted folders.

transformers' own `from_pretrained` follows names of weights, adapters and kernels out of the folder and unpickles; and
settings may ask for any number of layers. Here the weights are read by our own readers, and compared in size with the
settings before a model gets memory; transformers only puts them together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from realuid.errors import CheckpointError, ConfigError
from realuid.models.saving.diffusers_weights import read_shards, read_weight_file
from realuid.models.saving.weights import check_size, on_paper
from realuid.reading import blamed, read_json

_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"
#: Weights of a text encoder in one file, or the index of several, with a variant.
_WEIGHTS = re.compile(
    r"(?:pytorch_)?model(?:\.(?P<variant>\w+))?\.(?P<kind>safetensors|bin)(?:\.index(?:\.(?P<other>\w+))?\.json)?"
)
#: More tokens than any text encoder reads that prompts are padded for.
_PADDED = 1 << 14
#: Numbers that settings may ask for beside twice those that the weights hold (tied weights count twice).
_SPARE = 1 << 20


def load_tokenizer(folder: Path, class_name: str) -> Any:
    """A tokenizer of transformers, which refuses to pad prompts to more tokens than any model reads.

    Raises:
        ConfigError: without transformers.
        CheckpointError: where it is damaged, or no tokenizer.
    """
    transformers = _transformers(folder)
    kind = _class(transformers, class_name, folder, transformers.PreTrainedTokenizerBase)
    _check_templates(folder)
    with blamed(f"no {class_name} can be loaded from '{folder}'"):
        return kind.from_pretrained(folder, local_files_only=True)


def load_any_tokenizer(folder: Path) -> Any:
    """The same of a folder whose settings say which class it is."""
    transformers = _transformers(folder)
    _check_templates(folder)
    with blamed(f"no tokenizer can be loaded from '{folder}'"):
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _check_templates(folder: Path) -> None:
    """Raise CheckpointError for a template with a token that is not defined, at which tokenizers panics and prints."""
    if not (folder / _TOKENIZER).is_file():
        return
    steps: list[Any] = [read_json(folder / _TOKENIZER, finite=False).get("post_processor")]
    for step in steps:
        if not isinstance(step, dict):
            continue
        steps += step["processors"] if isinstance(step.get("processors"), list) else []
        pieces = [p for name in ("single", "pair") if isinstance(step.get(name), list) for p in step[name]]
        known = step.get("special_tokens")
        for token in (piece["SpecialToken"] for piece in pieces if isinstance(piece, dict) and "SpecialToken" in piece):
            name = token.get("id") if isinstance(token, dict) else token
            if not isinstance(name, str) or not isinstance(known, dict) or name not in known:
                raise CheckpointError(
                    f"'{folder / _TOKENIZER}' has a template with {str(name)[:100]!r}, no special token."
                )


def load_text_encoder(folder: Path, class_name: str) -> Any:
    """A text encoder of transformers, frozen, in the precision of its weights.

    Raises:
        ConfigError: without transformers.
        CheckpointError: where it is damaged, no model of transformers, or weights are missing.
    """
    transformers = _transformers(folder)
    kind = _class(transformers, class_name, folder, transformers.PreTrainedModel)
    settings = read_json(folder / _CONFIG, finite=False)
    _refuse_kernels(settings, folder)
    with blamed(f"no {class_name} can be loaded from '{folder}'"):
        return assemble(kind, kind.config_class.from_dict(settings), read_text_weights(folder), folder)


def load_any_text_encoder(folder: Path) -> Any:
    """The same of a folder whose settings say by `model_type` which class it is, without a head."""
    transformers = _transformers(folder)
    settings = read_json(folder / _CONFIG, finite=False)
    _refuse_kernels(settings, folder)
    with blamed(f"no text encoder can be loaded from '{folder}'"):
        config = transformers.AutoConfig.for_model(**settings)
        return assemble(transformers.MODEL_MAPPING[type(config)], config, read_text_weights(folder), folder)


def assemble(kind: Any, config: Any, weights: dict[str, Tensor], folder: Path) -> Any:
    """A model of transformers, once its settings are seen to ask for no more than the weights hold."""
    with on_paper(parameters=len(weights)):
        sized = kind(config)
    check_size(sized, weights)
    asked, held = (sum(value.numel() for value in values) for values in (sized.state_dict().values(), weights.values()))
    if asked > 2 * held + _SPARE:
        raise CheckpointError(f"its settings ask for {asked:,} weights, but there are {held:,}.")
    how = {"output_loading_info": True, "local_files_only": True}
    model, report = kind.from_pretrained(None, config=config, state_dict=weights, **how)
    if lacking := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"weights in '{folder}' are incomplete: {len(lacking)} missing, for instance {lacking[0]}."
        )
    return model.eval().requires_grad_(False)


def read_text_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a text encoder: of a variant, such as fp16, where there are none without, from one file or many.

    Raises:
        CheckpointError: where there are none, or they are damaged.
    """
    found = [(path, m) for path in sorted(folder.iterdir()) if (m := _WEIGHTS.fullmatch(path.name))]
    if not found:
        raise CheckpointError(f"'{folder}' holds no weights: expected model.safetensors.")

    def rank(entry: tuple[Path, re.Match[str]]) -> tuple[str, bool, bool]:
        path, match = entry
        return match["variant"] or match["other"] or "", match["kind"] == "bin", path.suffix == ".json"

    path = min(found, key=rank)[0]
    weights: dict[str, Tensor] = {}
    for part in read_shards(path) if path.suffix == ".json" else [path]:
        weights |= read_weight_file(part)
    return weights


def _transformers(folder: Path) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(f"the text encoders of '{folder}' need the extra: pip install 'realuid[text]'.") from error
    return transformers


def _class(transformers: Any, name: str, folder: Path, base: type) -> Any:
    """A class of transformers that a file names."""
    found = getattr(transformers, name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        what = "tokenizer" if "Tokenizer" in base.__name__ else "model"
        raise CheckpointError(f"'{folder}' is a {name[:100]}, which is no {what} of transformers.")
    return found


def _refuse_kernels(settings: Mapping[str, Any], folder: Path) -> None:
    """Raise CheckpointError for settings by which transformers would fetch code from the Hub and run it."""
    for name, value in settings.items():
        if isinstance(value, dict):
            _refuse_kernels(value, folder)
        elif str(name).endswith("_implementation") and "/" in str(value):
            raise CheckpointError(f"'{folder / _CONFIG}' asks for code of '{str(value)[:100]}' ({name[:100]}).")


class Call:
    """Lengths of the texts of one call of a tokenizer, in tokens before truncation, and how many are read."""

    def __init__(self, lengths: list[int], most: int):
        self.lengths, self.most = lengths, most


class Counting:
    """A tokenizer that remembers how long texts were before it truncated them, and pads to no more than models read."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.calls: list[Call] = []

    def __call__(self, text: Any, *args: Any, **how: Any) -> Any:
        most = how.get("max_length") or self.tokenizer.model_max_length
        if how.get("padding") == "max_length" and most > _PADDED:
            raise CheckpointError(f"prompts are padded to {most} tokens: model_max_length is wrong.")
        with blamed("the tokenizer cannot read prompts"):  # a panic in Rust is no Exception, which others look for
            if how.get("truncation"):
                texts, special = [text] if isinstance(text, str) else text, how.get("add_special_tokens", True)
                whole = self.tokenizer(texts, add_special_tokens=special, verbose=False)
                self.calls.append(Call([len(ids) for ids in whole.input_ids], most))
            return self.tokenizer(text, *args, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tokenizer"], name)
