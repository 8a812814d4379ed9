"""Recognition of model formats by the content of files, not by their names."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from realuid.errors import CheckpointError
from realuid.loaders.diffusers_folder import looks_like_diffusers
from realuid.loaders.hub import snapshot
from realuid.models.saving.folder import CONFIG, FORMAT
from realuid.reading import near, open_regular, read_json

#: Format -> what it is, for people.
FORMATS = {
    "realuid": "realuid's own folder",
    "safetensors": "realuid's one safetensors file",
    "diffusers": "a folder of diffusers: a pipeline, or a model with its scheduler's settings",
    "edm": "a network pickle in EDM's layout (EDM, SiD)",
    "torchcfm": "a checkpoint of torchcfm or of the RealUID authors",
}

_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+(@[\w./-]+)?$")
_LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # torch.save's magic number before it wrote zip archives


def base_and_adapter(source: str | Path) -> tuple[str, str]:
    """A model and the adapter that changes it, of 'BASE+ADAPTER': each a place or a Hub id; no adapter: ''."""
    whole = str(source)
    for mark in reversed([place for place, letter in enumerate(whole) if letter == "+"]):
        base, adapter = whole[:mark], whole[mark + 1 :]
        if not Path(whole).exists() and adapter and (Path(base).exists() or _HUB_ID.match(base)):
            return base, adapter
    return whole, ""


def lasting(source: str) -> str:
    """A source with absolute paths in place of relative ones."""
    base, adapter = base_and_adapter(source)
    parts = (str(Path(part).resolve()) if part and Path(part).exists() else part for part in (base, adapter))
    return "+".join(part for part in parts if part)


def local_path(source: str | Path) -> Path:
    """The path itself or, where there is none of that name and it reads org/name, a snapshot of that model on the hub.

    Args:
        source: a file, a folder, or a hub id; 'org/name@revision' for a branch, a tag or a commit. Of 'BASE+ADAPTER',
            the base.

    Raises:
        CheckpointError: where there is neither.
    """
    source, _ = base_and_adapter(source)
    path = Path(source)
    if path.exists():
        return path
    missing = f"no model at '{source}': there is no such file or folder"
    if path.is_absolute() or path.parent.is_dir() or not _HUB_ID.match(str(source)):
        raise CheckpointError(
            f"{missing}.{near(path)} Pass one, or the id of a model on the Hugging Face hub (org/name)."
        )
    name, _, revision = str(source).partition("@")
    try:
        return snapshot(name, revision or None)
    except Exception as error:  # no network, no such model, no permission: many types, all about what was asked for
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{missing}, and the model '{source}' cannot be had from the Hugging Face hub ({reason}). Check the id and "
            "the network, or download it and pass its folder."
        ) from error


def model_folder(path: str | Path) -> Path:
    """The folder with the weights: the path itself, or the best (else the last) model of a run folder.

    Raises:
        CheckpointError: where there is none.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"no model at '{path}': there is no such file or folder.")
    for candidate in (path, path / "best", path / "model"):
        if (candidate / CONFIG).is_file():
            return candidate
    raise CheckpointError(f"no model in '{path}': expected {CONFIG} there, or a run folder with best/ or model/.")


def recognise(path: Path) -> str:
    """The format of a file or folder, a name in `FORMATS`.

    Raises:
        CheckpointError: where it is none of them, or more than one.
    """
    found = _formats_of_folder(path) if path.is_dir() else _formats_of_file(path)
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(
            f"'{path}' is ambiguous, it looks like {' and like '.join(found)}: keep one of them in it."
        )
    kinds = "; ".join(FORMATS.values())
    if what := what_else(path):
        raise CheckpointError(f"'{path}' is {what}. Formats that can be read: {kinds}.")
    if path.is_dir():
        raise CheckpointError(
            f"no model in '{path}': expected {CONFIG} there, or a run folder with best/ or model/, or another format "
            f"that can be read ({kinds})."
        )
    raise CheckpointError(f"'{path}' is of no format that can be read ({kinds}). For a network of your own: Teacher.")


def what_else(path: Path) -> str:
    """What a folder of weights is that holds no matching model: an adapter, or a network of transformers; else ''."""
    if any((path / name).is_file() for name in ("adapter_config.json", "pytorch_lora_weights.safetensors")):
        return "an adapter (LoRA), the change of another model: pass BASE+ADAPTER"
    if (path / CONFIG).is_file():
        try:
            config = read_json(path / CONFIG, finite=False)
        except CheckpointError:
            return ""
        if kind := str(config.get("_class_name", "")):
            return f"a {ascii(kind[:100])[1:-1]} of diffusers, which is no network of those that can be read"
        architectures = config.get("architectures")
        if isinstance(architectures, list) and architectures:
            return f"a {ascii(str(architectures[0])[:100])[1:-1]} of transformers, for instance a text encoder"
    return ""


def is_model(source: str | Path) -> bool:
    """Whether something is a model (or reads like one on the hub) rather than, for instance, a data set."""
    base, _ = base_and_adapter(source)
    path = Path(base)
    if not path.exists():
        return bool(_HUB_ID.match(base))
    return bool((_formats_of_folder(path) or what_else(path)) if path.is_dir() else _formats_of_file(path))


def _formats_of_folder(folder: Path) -> list[str]:
    tests = {"realuid": _has_realuid_config, "diffusers": looks_like_diffusers}
    return [name for name, test in tests.items() if test(folder)]


def _has_realuid_config(folder: Path) -> bool:
    for candidate in (folder, folder / "best", folder / "model"):
        if (candidate / CONFIG).is_file():
            try:
                config = json.loads((candidate / CONFIG).read_text())
            except (ValueError, OSError, RecursionError):
                return True  # damaged: the loader says how
            return isinstance(config, dict) and config.get("format") == FORMAT
    return False


def _formats_of_file(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read ({error.strerror}).") from error
    if start[2:].startswith(_LEGACY_TORCH) or (start.startswith(b"PK\x03\x04") and _is_torch_archive(path)):
        return ["torchcfm"]
    if start[8:9] == b"{":  # safetensors: eight bytes of length, then the header
        return ["safetensors"]
    return ["edm"] if start.startswith(b"\x80") else []


def _is_torch_archive(path: Path) -> bool:
    """Whether a zip file is torch's, and no data set; of one whose directory is damaged, its name has to tell."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except Exception:  # damaged directories raise nearly every type; who reads the file says what is wrong
        return path.suffix.lower() != ".zip"
