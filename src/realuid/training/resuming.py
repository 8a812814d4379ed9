"""Continuing from a checkpoint: what a run may do otherwise than before, and the state of its task."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from realuid._version import __version__
from realuid.errors import CheckpointError
from realuid.models import NETWORKS, MatchingModel, load_strictly
from realuid.models.networks.architectures import network_config
from realuid.models.preconditioning import preconditioning_config
from realuid.training.checkpoints import Checkpoints, Meta
from realuid.training.config import LoopConfig
from realuid.training.settings import FREE, decided, renamed, to_dict
from realuid.training.sharding import share
from realuid.training.task import Task


def is_longer(config: LoopConfig, inputs: Mapping[str, object], meta: Meta, folder: Path) -> bool:
    """Whether a run asks for more updates than its checkpoint; nothing else that matters may differ.

    Arguments and errors as of `check_same`.
    """
    longer = config.updates > meta["settings"]["updates"]
    check_same(config, inputs, meta, folder, FREE | {"updates"} if longer else FREE)
    return longer


def check_same(
    config: LoopConfig, inputs: Mapping[str, object], meta: Meta, folder: Path, free: Collection[str] = FREE
) -> None:
    """Raise CheckpointError where what is in a folder was made with other settings or inputs.

    Args:
        config, inputs: of the run.
        meta, folder: of the checkpoint.
        free: settings that may differ.
    """
    settings = to_dict(type(config)()) | decided(renamed(meta["settings"]))  # with settings added since it was written
    asked = {**to_dict(config), **inputs}
    known = settings.keys() - free  # what was not recorded when it was written is not compared
    if changed := [name for name, value in asked.items() if name in known and _differs(settings[name], value)]:
        writer = meta.get("version")
        by = "" if writer == __version__ else f" (by realuid {writer or '0.1.0 or earlier'}; this is {__version__})"
        raise CheckpointError(
            f"'{folder}' was made with another {', '.join(changed)}{by}. Resume with the same, or start a new run."
        )


def _differs(old: object, new: object) -> bool:
    """Whether two values differ, of dictionaries those of the entries that both have: versions may add some."""
    if isinstance(old, dict) and isinstance(new, dict):
        return any(_differs(old[name], new[name]) for name in old.keys() & new.keys())
    return old != new


def as_started(recorded: Mapping[str, object], now: Mapping[str, object]) -> dict[str, object]:
    """Sections of config.json as a run was started with them, but for its data, where that was moved since.

    Args:
        recorded: in the checkpoint.
        now: of the run that goes on; it names relative places from the root.
    """
    old, new = recorded.get("data"), now.get("data")
    moved = new is not None
    if isinstance(old, dict) and isinstance(new, dict):
        moved = not all(str(new.get(name)).endswith(str(old.get(name))) for name in ("source", "pairs"))
    return {**recorded, **({"data": new} if moved else {})}


def form_of(model: MatchingModel) -> dict[str, object]:
    """Path, prediction, preconditioning and network (if it is of the table), as JSON gives them back."""
    form: dict[str, object] = {"path": model.path.to_config(), "prediction": model.prediction}
    form["preconditioning"] = preconditioning_config(model.preconditioning)
    if type(model.network) in NETWORKS.values():
        form["network"] = network_config(model.network)
    plain: dict[str, object] = json.loads(json.dumps(form))
    return plain


def has_more(checkpoints: Path, config: LoopConfig, inputs: Mapping[str, object]) -> bool:
    """Whether a finished run has more to do: it asks for more updates, or was interrupted when it last did.

    Args:
        checkpoints: folder of the run's; where all are damaged, nothing is compared.
        config, inputs: of the run.

    Raises:
        CheckpointError: for other settings or inputs.
    """
    try:
        step, folder = Checkpoints(checkpoints).latest()
    except CheckpointError:
        return False
    return is_longer(config, inputs, Checkpoints.read_meta(folder), folder) or step < config.updates


def restore(task: Task, weights: dict[str, dict[str, Tensor]], optimizers: dict[str, dict], folder: Path) -> None:
    """Put weights, averages and optimiser states in place, as `Checkpoints.read` gives them."""
    for player in task.players:
        own = player.module.state_dict()
        shares = {name: share(value, own.get(name)) for name, value in weights[player.name].items()}
        load_strictly(player.module, shares, str(folder / f"{player.name}.safetensors"))
        player.load_optimizer_state(optimizers[f"{player.name}-optimizer"])
    task.ema.load_state_dict(weights["ema"])
