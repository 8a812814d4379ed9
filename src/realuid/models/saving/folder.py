"""realuid's own format: a folder with config.json (its description) and model.safetensors (its weights).

Tensors of an imported file that no network uses are kept in unused.safetensors, an adapter (LoRA) that the weights
contain also in adapter.safetensors, and the autoencoder of a latent model in autoencoder/, in diffusers' format. A
model can also be one file, without these: the weights, with the description in their header.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path as FilePath
from typing import Any

from accelerate import init_empty_weights
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from realuid._version import __version__
from realuid.compat import MovesAnother
from realuid.errors import CheckpointError, unknown_name
from realuid.files import CHECKSUMS, atomic_file, atomic_folder, damage, to_json, write_checksums
from realuid.models.clipping import Clipping
from realuid.models.codec import load_codec
from realuid.models.matching import MatchingModel
from realuid.models.networks.architectures import OWN, make_network, network_config
from realuid.models.networks.base import DiT, Network, UNet, check_runs
from realuid.models.networks.merged import read_merged
from realuid.models.networks.own import Function
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.preconditioning import make_preconditioning, preconditioning_config
from realuid.models.saving.checks import check_times, class_counts, class_names
from realuid.models.saving.diffusers_weights import read_diffusers_config
from realuid.models.saving.weights import apart, check_size, check_weights, load_strictly, on_paper, read_weights
from realuid.models.student import Student
from realuid.paths import path_from_config
from realuid.reading import check_regular, is_finite, parse_json, read_json
from realuid.seeds import seeded

CONFIG, WEIGHTS, UNUSED, FORMAT = "config.json", "model.safetensors", "unused.safetensors", "realuid"
AUTOENCODER, ADAPTER = "autoencoder", "adapter.safetensors"


def _matching(model: MatchingModel | Student) -> MatchingModel:
    return model.model if isinstance(model, Student) else model


def _standalone(model: MatchingModel | Student) -> MatchingModel | Student:
    """The model with all of its weights: where it is an adapter on a shared base, a copy with the adapter merged.

    The copy is on the CPU: the device may not have room for another base.
    """
    if not _matching(model).network.shares_base:
        return model
    modules = [model, *(m.moved_along() for m in model.modules() if isinstance(m, MovesAnother))]
    copies: dict[int, Any] = {}
    for tensor in (t for module in modules for t in (*module.parameters(), *module.buffers())):
        if type(tensor) in (Tensor, nn.Parameter):  # others, such as quantised weights, are copied one by one
            host = tensor.detach().to("cpu", copy=True)
            copies[id(tensor)] = nn.Parameter(host, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else host
    return copy.deepcopy(model, copies)


def describe(model: MatchingModel | Student) -> dict[str, Any]:
    """JSON-ready description of a model, enough to rebuild it without its weights."""
    matching = _matching(model)
    description: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "kind": "generator" if isinstance(model, Student) else "matching_model",
        "path": matching.path.to_config(),
        "prediction": matching.prediction,
        "preconditioning": preconditioning_config(matching.preconditioning),
        "network": network_config(matching.network),
        "null_class": matching.null_class,
    }
    if matching.clipping and not isinstance(model, Student):
        description["clipping"] = matching.clipping.to_config()
    if matching.degradation:
        description["degradation"] = matching.degradation
    if matching.prompts:
        description["prompts"] = matching.prompts
    if matching.class_names:
        description["classes"] = list(matching.class_names)
    if matching.class_counts:
        description["class_counts"] = list(matching.class_counts)
    if isinstance(model, Student):
        description |= {"times": list(model.times), "renoise": model.renoise, "noise": model.noise}
    return description


def build(description: dict[str, Any], function: Function | None = None) -> MatchingModel | Student:
    """The model a description stands for, with fresh random weights; or around a user's function."""
    if description["kind"] not in (kinds := ("matching_model", "generator")):
        raise CheckpointError(unknown_name("kind of model", str(description["kind"]), kinds))
    matching = MatchingModel(
        network=make_network(**description["network"], function=function),
        path=path_from_config(description["path"]),
        prediction=description["prediction"],
        preconditioning=make_preconditioning(**description["preconditioning"]),
        null_class=description.get("null_class", False),
    )
    matching.clipping = Clipping.from_config(description.get("clipping"))
    matching.degradation = str(description.get("degradation", ""))
    matching.prompts = str(description.get("prompts", ""))
    matching.class_names = class_names(description.get("classes"), matching.num_classes)
    matching.class_counts = class_counts(description.get("class_counts"), matching.num_classes)
    if description["kind"] == "generator":
        times = description.get("times", description.get("t_init"))  # before several times: t_init
        return Student(matching, times, description.get("noise", True), description.get("renoise", "fresh"))
    return matching


def save_pretrained(model: MatchingModel | Student, folder: str | FilePath, **extra: Any) -> FilePath:
    """Write a model to a folder, all of it or nothing.

    Args:
        model: teacher, fake model or generator. Of a user's network, only the weights are written.
        folder: created, or replaced where it holds a model that realuid wrote.
        **extra: further sections of config.json, for instance how the model was trained.

    Raises:
        ConfigError: for a folder that holds something else.
    """
    folder, model = FilePath(folder), _standalone(model)
    with atomic_folder(folder, ours=is_model_folder) as temporary:
        (temporary / CONFIG).write_text(to_json({**describe(model), **extra}, indent=2) + "\n")
        save_file(apart(model.state_dict()), temporary / WEIGHTS)
        if unused := _matching(model).network.unused:
            save_file(unused, temporary / UNUSED)
        if merged := _matching(model).network.merged:
            merged.save(temporary / ADAPTER)
        if codec := _matching(model).codec:
            codec.save(temporary / AUTOENCODER)
        write_checksums(temporary)
    return folder


def read_config(folder: str | FilePath) -> dict[str, Any]:
    """config.json of a realuid model folder.

    Raises:
        CheckpointError: where the folder or the file is missing, unreadable or of another format.
    """
    path = FilePath(folder) / CONFIG
    if not path.exists():
        raise CheckpointError(f"no model in '{folder}': {CONFIG} is missing. Pass a folder that realuid wrote.")
    config = read_json(path, finite=False)
    if config.get("format") != FORMAT:
        raise CheckpointError(f'\'{path}\' was not written by realuid (no "format": "{FORMAT}").')
    return config


def is_model_folder(folder: FilePath) -> bool:
    """Whether realuid wrote a model to a folder."""
    try:
        return bool(read_config(folder))
    except (CheckpointError, OSError):
        return False


def from_pretrained(folder: str | FilePath, network: Function | None = None) -> MatchingModel | Student:
    """Read a model from a folder that `save_pretrained` wrote, in evaluation mode on the CPU.

    Args:
        folder: of the model.
        network: for one around a user's network: an instance, whose weights are replaced.

    Raises:
        CheckpointError: where something is missing, damaged or does not fit.
    """
    folder = FilePath(folder)
    model = _rebuild(read_config(folder), read_weights(folder / WEIGHTS), str(folder), network)
    if (folder / UNUSED).exists():
        _matching(model).network.unused = read_weights(folder / UNUSED)
    if (folder / ADAPTER).exists():
        _matching(model).network.merged = read_merged(folder / ADAPTER)
    if (folder / AUTOENCODER).is_dir():
        kind = read_diffusers_config(folder / AUTOENCODER / CONFIG).get("_class_name", "nameless class")
        _matching(model).codec = load_codec(folder / AUTOENCODER, kind)
    if (folder / CHECKSUMS).is_file() and (reason := damage(folder)):
        raise CheckpointError(
            f"'{folder}' is not as it was written: {reason}. Copy it again or, if you changed it, delete {CHECKSUMS}."
        )
    return model


#: Entries of a description and what they are; those of students and older versions' may be missing.
_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "path": dict,
    "preconditioning": dict,
    "network": dict,
    "prediction": str,
    "null_class": bool,
    "degradation": str,
    "clipping": dict,
    "prompts": str,
    "times": (int, float, list, type(None)),
    "t_init": (int, float, type(None)),
    "renoise": str,
    "noise": bool,
}


def _check_description(config: dict[str, Any]) -> None:
    """Raise CheckpointError for entries of a wrong type, and numbers that are infinite or NaN."""
    for name, kind in _ENTRIES.items():
        value = config.get(name)
        if name in config and (not isinstance(value, kind) or (kind is not bool and isinstance(value, bool))):
            needed = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise CheckpointError(f"it does not describe a model: {name} is a {type(value).__name__}, not {needed}.")
        if not is_finite(value):
            raise CheckpointError(f"it does not describe a model: {name} holds a number that is infinite or NaN.")
    for name in config["network"]:
        if name not in ("architecture", "settings"):
            raise CheckpointError(f"it does not describe a model: network has an entry {name[:50]!a}.")
    if not isinstance(config["network"]["settings"], dict):
        raise CheckpointError("it does not describe a model: the network's settings are no dictionary.")


def _rebuild(
    config: dict[str, Any], weights: dict[str, Tensor], where: str, network: Function | None = None
) -> MatchingModel | Student:
    """The model of a description and its weights, in evaluation mode."""
    try:
        _check_description(config)
        if config["network"]["architecture"] == OWN:
            sized: Network = make_network(**config["network"], function=network)
        elif network is not None:
            raise CheckpointError(f"network was passed, but '{where}' brings its own.")
        else:
            with on_paper(parameters=len(weights)):
                sized = make_network(**config["network"])
                if isinstance(sized, UNet | DiT | PromptNetwork):
                    check_runs(sized)
            check_size(sized, weights)
        prefix = "model.network." if config["kind"] == "generator" else "network."
        check_weights({prefix + name: value for name, value in sized.state_dict().items()}, weights, where)
        without = init_empty_weights(include_buffers=False) if sized.keeps_precision else nullcontext()
        with seeded(0), without:  # of weights that are replaced
            model = build(config, network)
        check_times(_matching(model))
    except CheckpointError as error:
        raise CheckpointError(f"'{where}': {error}") from error
    except Exception as error:  # the file may say anything: whatever a constructor makes of that is the file's fault
        reason = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)[:500]
        raise CheckpointError(f"'{where}' does not describe a model ({reason}).") from error
    load_strictly(model, weights, where, keep_precision=sized.keeps_precision)
    if isinstance(model, Student):
        own = describe(model)
        model.about = {name: value for name, value in config.items() if name not in own}
    return model.eval()


def save_single_file(model: MatchingModel | Student, path: str | FilePath, /, **extra: Any) -> FilePath:
    """Write a model as one safetensors file, all of it or nothing; its description is in the header.

    Arguments as in `save_pretrained`. Tensors that no network uses are left out.

    Raises:
        CheckpointError: for a model on latents, whose autoencoder would have to be left out, too.
    """
    path, model = FilePath(path), _standalone(model)
    if _matching(model).codec:
        raise CheckpointError("the model is on latents, and a single file cannot hold its autoencoder: use a folder.")
    header = {"format": "pt", FORMAT: to_json({**extra, **describe(model)})}
    with atomic_file(path) as temporary:
        save_file(apart(model.state_dict()), temporary, header)
    return path


def load_single_file(path: str | FilePath, network: Function | None = None) -> MatchingModel | Student:
    """Read a model from a file that `save_single_file` wrote; arguments and errors as for `from_pretrained`."""
    weights = read_weights(FilePath(path))
    return _rebuild(read_header(path), weights, str(path), network)


def read_header(path: str | FilePath) -> dict[str, Any]:
    """The description in the header of a file that `save_single_file` wrote: what config.json is to a folder.

    Raises:
        CheckpointError: where the file is missing or damaged, or holds weights only.
    """
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            text, names = (file.metadata() or {}).get(FORMAT), " ".join(file.keys())
    except Exception as error:  # damage surfaces as SafetensorError, ValueError, OSError, ...
        raise CheckpointError(f"the header of '{path}' cannot be read ({type(error).__name__}: {error}).") from error
    if text is None:
        if any(part in names for part in ("lora_A", "lora_down", "lora_unet_")):
            raise CheckpointError(f"'{path}' is an adapter (LoRA), the change of another model: pass BASE+ADAPTER.")
        raise CheckpointError(
            f"'{path}' holds weights only: its header does not say of what model. Pass a folder; diffusers makes one "
            "of a checkpoint: StableDiffusionXLPipeline.from_single_file(FILE).save_pretrained(FOLDER), for instance."
        )
    return parse_json(text, f"the header of '{path}'", finite=False)
