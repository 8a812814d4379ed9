"""Encoders of prompts by their source: a name, or the text encoders of a pipeline from a folder or the Hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from realuid.errors import ConfigError, unknown_name
from realuid.loaders.formats import local_path
from realuid.loaders.sentences import minilm
from realuid.loaders.words import Words
from realuid.models.prompts import PromptEncoder


def load_prompt_encoder(source: str | Path) -> PromptEncoder:
    """What turns prompts into the conditions of a model, in evaluation mode on the CPU.

    Args:
        source: a name in `ENCODERS`; or the folder or Hub id of a text-to-image pipeline of diffusers, of which only
            tokenizers and text encoders are loaded.

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


def _pipeline(folder: Path, source: str) -> PromptEncoder:
    try:
        from realuid.loaders.pipeline_prompts import load_pipeline_prompts
    except ImportError as error:
        raise ConfigError(f"the text encoders of '{source}' need the extra: pip install 'realuid[text]'.") from error
    return load_pipeline_prompts(folder, source)


#: Encoders that come with realuid, by name.
ENCODERS: dict[str, Callable[[], PromptEncoder]] = {"words": Words, "minilm": minilm}

#: Encoders in folders: a file that such a folder has, and how it is loaded from the folder and its source.
FOLDERS: dict[str, Callable[[Path, str], PromptEncoder]] = {"model_index.json": _pipeline}
