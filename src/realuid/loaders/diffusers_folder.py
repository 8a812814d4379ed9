"""Teachers in diffusers' folders: a pipeline, or a model with the settings of its scheduler beside it.

pipeline:  model_index.json, and unet/ or transformer/, scheduler/, perhaps vae/ or vqvae/ (older ones: all in one)
model:     config.json with weights, and scheduler_config.json beside it or in scheduler/
training:  unet/, unet_ema/ and scheduler/, without an index; `key` says which
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from diffusers import DiTTransformer2DModel, UNet2DModel

from realuid.errors import CheckpointError
from realuid.loaders.pipeline_parts import is_pipeline
from realuid.loaders.prompted import DENOISERS, load_denoiser
from realuid.loaders.schedulers import read_scheduler
from realuid.models import Codec, DiT, MatchingModel, Network, UNet, resize
from realuid.models.codec import load_codec
from realuid.models.networks.base import check_runs
from realuid.models.saving.checks import check_times
from realuid.models.saving.diffusers_weights import load_diffusers_model, read_diffusers_config
from realuid.models.saving.weights import on_paper
from realuid.reading import blamed

N = TypeVar("N", UNet, DiT)

INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
_DENOISERS, _AUTOENCODERS = ("unet", "unet_ema", "transformer", "transformer_ema"), ("vae", "vqvae")
#: Parts that read prompts, and those that only look at images that were made or given.
_OF_PROMPTS = tuple(f"{part}{number}" for part in ("tokenizer", "text_encoder") for number in ("", "_2", "_3"))
_OF_IMAGES = ("safety_checker", "feature_extractor", "image_encoder")


def looks_like_diffusers(folder: Path) -> bool:
    """Whether a folder has diffusers' layout."""
    if (folder / INDEX).is_file() or _class_of(folder):
        return True
    return any(_class_of(folder / name) for name in _DENOISERS)


def load_diffusers(folder: str | Path, key: str | None = None, size: tuple[int, ...] | None = None) -> MatchingModel:
    """A teacher from a folder of diffusers.

    A learned variance is left out. A pipeline on latents keeps its autoencoder: see `MatchingModel.codec`.

    Args:
        folder: of a pipeline, or of a model with a scheduler's settings.
        key: which network, by its folder ('unet', 'unet_ema', ...), where there are several.
        size: of the images of a text-to-image model, (height, width), of videos (frames, height, width); None: what its
            pipeline makes.

    Returns:
        the model, float32 or, where it reads prompts, in the precision of its weights, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: where something is missing, damaged, not supported, or has to be chosen.
    """
    folder = Path(folder)
    with blamed(f"the model in '{folder}' cannot be used"):
        return _load(folder, key, size)


def _load(folder: Path, key: str | None, size: tuple[int, ...] | None) -> MatchingModel:
    parts = _parts(folder)
    where = _denoiser(folder, parts, key)
    kind = _class_of(where)
    pipeline = "" if parts is None else str(read_diffusers_config(folder / INDEX).get("_class_name", ""))
    reads = any(name.startswith("text_encoder") for name in parts or ())
    if kind not in NETWORKS and kind not in DENOISERS and not (reads and is_pipeline(pipeline)):
        raise CheckpointError(
            f"the network in '{where}' is a {kind}. Supported are {', '.join((*NETWORKS, *DENOISERS))}."
        )
    settings = _scheduler(folder, parts)
    codec = _codec(folder, parts)
    if kind in NETWORKS:
        if reading := sorted((parts or {}).keys() & {*_OF_PROMPTS}):
            raise CheckpointError(f"the pipeline in '{folder}' also has {reading[0]}, but its {kind} reads no prompts.")
        network = NETWORKS[kind](where)
    else:
        network = load_denoiser(where, pipeline, read_diffusers_config(where / CONFIG), codec, size)
    path, prediction, preconditioning, clipping = read_scheduler(settings)
    model = MatchingModel(network, path, prediction, preconditioning, codec).eval()
    model.clipping = clipping
    if reads:
        model.prompts = str(folder.absolute())
    check_times(model)
    if size is not None and kind in NETWORKS:
        resize(model, size)  # or an error: denoisers that read prompts were loaded for it
    return model


def _parts(folder: Path) -> dict[str, str] | None:
    """The parts of a pipeline by name, with their classes; None where there is no index."""
    if not (folder / INDEX).is_file():
        return None
    index = read_diffusers_config(folder / INDEX)
    parts = {
        name: str(value[1])
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] is not None
    }
    known = {*_DENOISERS, *_AUTOENCODERS, "scheduler", *_OF_PROMPTS, *_OF_IMAGES}
    if unknown := sorted(parts.keys() - known):
        raise CheckpointError(
            f"the pipeline in '{folder}' also has {', '.join(unknown)}. Supported are pipelines of "
            f"{', '.join(sorted(known))}."
        )
    return parts


def _home(folder: Path, name: str) -> Path:
    """Where a part lies: in a folder of its name or, in older pipelines, with all others."""
    return folder / name if (folder / name).is_dir() else folder


def _denoiser(folder: Path, parts: dict[str, str] | None, key: str | None) -> Path:
    if parts is not None:
        found = {name: _home(folder, name) for name in _DENOISERS if name in parts}
    elif _class_of(folder):
        found = {"model": folder}
    else:
        found = {name: folder / name for name in _DENOISERS if _class_of(folder / name)}
    if not found:
        raise CheckpointError(f"'{folder}' has none of the networks {', '.join(_DENOISERS)}.")
    if key is not None and key not in found:
        raise CheckpointError(f"key = {key} is not in '{folder}'. Allowed: {', '.join(found)}.")
    if key is None and len(found) > 1:
        raise CheckpointError(f"'{folder}' holds several networks: pass key, one of {', '.join(found)}.")
    return found[key or next(iter(found))]


def _scheduler(folder: Path, parts: dict[str, str] | None) -> dict[str, Any]:
    found = [path for path in (folder / SCHEDULER, folder / "scheduler" / SCHEDULER) if path.is_file()]
    if not found and (whole := folder.absolute().parent / INDEX).is_file():
        raise CheckpointError(f"'{folder}' is a part of a pipeline: pass the pipeline's folder, '{whole.parent}'.")
    if len(found) != 1 or (parts is not None and "scheduler" not in parts):
        raise CheckpointError(
            f"'{folder}' has {len(found) or 'no'} scheduler settings, which say what the network predicts and on which "
            f"path: needed is one {SCHEDULER} there or in scheduler/, for instance of the DDPMScheduler it was trained "
            "with."
        )
    return read_diffusers_config(found[0], finite=False)


def _codec(folder: Path, parts: dict[str, str] | None) -> Codec | None:
    if parts is None:
        found = {name: _class_of(folder / name) for name in _AUTOENCODERS if (folder / name).is_dir()}
    else:
        found = {name: kind for name, kind in parts.items() if name in _AUTOENCODERS}
    if len(found) > 1:
        raise CheckpointError(f"'{folder}' holds several autoencoders ({', '.join(found)}): remove all but one.")
    for name, kind in found.items():
        return load_codec(folder / name, kind)
    return None


def _class_of(folder: Path) -> str:
    """The class that a config.json of diffusers names; '' where there is none."""
    if not (folder / CONFIG).is_file():
        return ""
    return str(read_diffusers_config(folder / CONFIG).get("_class_name", ""))


def _settings(model: Any) -> dict[str, Any]:
    """What a model was built with: diffusers keeps, but does not read, settings of other versions."""
    known = inspect.signature(type(model).__init__).parameters
    return {name: value for name, value in model.config.items() if name in known}


def _build(kind: type[N], model: Any, **more: Any) -> N:
    """Our network of a model's settings; first on paper, to see whether it can be called."""
    settings = {**more, **_settings(model)}
    with on_paper(parameters=len(model.state_dict())):
        check_runs(kind(**settings))
    return kind(**settings)


def _unet(folder: Path) -> Network:
    unet = load_diffusers_model(UNet2DModel, folder)
    config = unet.config
    if config.class_embed_type is not None or config.time_embedding_type == "learned":
        raise CheckpointError(
            f"the network in '{folder}' has class_embed_type = {config.class_embed_type} and time_embedding_type = "
            f"{config.time_embedding_type}. Supported are class numbers (None), and times that are not looked up in a "
            "table."
        )
    if config.sample_size is None:
        raise CheckpointError(f"'{folder / CONFIG}' does not say sample_size, the side of the images.")
    network = _build(UNet, unet, learns_variance=config.out_channels == 2 * config.in_channels)
    network.unet.load_state_dict(unet.state_dict())
    return network


def _dit(folder: Path) -> Network:
    transformer = load_diffusers_model(DiTTransformer2DModel, folder)
    network = _build(DiT, transformer)
    network.transformer.load_state_dict(transformer.state_dict())
    return network


#: Class of a network -> how it is loaded. Early DiT folders name the class that was split up later.
NETWORKS: dict[str, Callable[[Path], Network]] = {
    "UNet2DModel": _unet,
    "DiTTransformer2DModel": _dit,
    "Transformer2DModel": _dit,
}
