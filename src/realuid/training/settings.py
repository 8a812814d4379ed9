"""Settings of all runs, one small class for each concern; every field is a command-line option.

`config.py` composes them by inheritance, so that users see one flat list of settings, while a function takes only the
class it needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeVar

from realuid.devices import check_device
from realuid.errors import ConfigError
from realuid.settings import MOST_BATCH, MOST_SAMPLES, check_range, check_types

V = TypeVar("V")

#: Settings that a resumed run may change: they affect only the order of sums.
FREE = frozenset({"micro_batch", "shard", "grid_prompts"})
#: Where data is, which may be moved: the checkpoint holds the fingerprint of what is there.
MOVABLE = frozenset({"source", "pairs"})
#: Renamed settings: old name -> new name, for recipes, the command line and Python.
RENAMED = {"recompute": "activation_checkpointing", "betas": "adam_betas", "decay": "lr_decay"}
#: Switches whose default was None (open) in earlier versions.
ONCE_OPEN = frozenset({"fused", "activation_checkpointing", "compile", "shard"})


def renamed(values: Mapping[str, V]) -> dict[str, V]:
    """Settings of an older version under their current names.

    Raises:
        ConfigError: if a setting is given under both names.
    """
    for old, new in RENAMED.items():
        if old in values and new in values:
            raise ConfigError(f"{old} and {new} are two names of one setting: pass {new} alone.")
    return {RENAMED.get(name, name): value for name, value in values.items()}


def decided(values: Mapping[str, V]) -> dict[str, V]:
    """Settings of an older version without switches that were left open (None)."""
    return {name: value for name, value in values.items() if name not in ONCE_OPEN or value is not None}


def renamed_options(words: Sequence[str]) -> list[str]:
    """A command line of an older version (`--recompute True`, `--compile=None`) with the current options."""
    found: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, joined, value = word.partition("=")
        section, _, name = option.removeprefix("--").rpartition(".")
        setting = name.replace("-", "_")
        setting = RENAMED.get(setting, setting)
        if not option.startswith("--") or section not in ("", "distill", "teacher"):
            found.append(word)
            continue
        option = "--" + (f"{section}." if section else "")
        values = [value] if joined else rest[:1]
        if setting in ONCE_OPEN and values and values[0] in ("True", "False", "None"):
            rest = rest if joined else rest[1:]
            switch = {"True": [f"{option}{setting}"], "False": [f"{option}no-{setting}"], "None": []}[values[0]]
            found += [each.replace("_", "-") for each in switch]
        elif setting != name.replace("-", "_"):
            found.append(f"{option}{setting.replace('_', '-')}{joined}{value}")
        else:
            found.append(word)
    return found


#: More updates than a century has nanoseconds are a slip of the keyboard.
MOST_UPDATES = 10**18


@dataclass(frozen=True)
class Settings:
    """Base of all settings: types are checked, and old names are refused with the new one."""

    def __new__(cls, *_: object, **values: object) -> Self:
        """Create the object, unless a setting is passed under an old name.

        Raises:
            ConfigError: with its current name.
        """
        for old in RENAMED.keys() & values.keys():
            raise ConfigError(f"{old} = {values[old]!r}: this setting is called {RENAMED[old]} now.")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class OptimiserSettings(Settings):
    """Length of the run, batch size, optimiser and EMA."""

    #: Length of the run, in updates (of the generator, when distilling).
    updates: int = 1000
    #: Images per update, over all processes.
    batch: int = 256
    #: beta_1 and beta_2 of Adam.
    adam_betas: tuple[float, float] = (0.9, 0.999)
    #: Bits of Adam's moments: 32, or 8 with a scale for every block (by bitsandbytes; extra realuid[bits]).
    adam_bits: Literal[32, 8] = 32
    #: Maximum gradient norm; larger gradients are scaled down to it.
    clip: float = 1.0
    #: Updates over which the learning rates rise from 0 to their values.
    warmup: int = 0
    #: Learning-rate schedule after the warm-up: constant, or cosine decay to zero.
    lr_decay: Literal["constant", "cosine"] = "constant"
    #: Decays of the exponential moving averages (EMA) of the weights; the first one is used for grids and the result.
    ema: tuple[float, ...] = (0.999,)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, f"[1, {MOST_UPDATES}]", "updates")
        check_range(self, f"[1, {MOST_BATCH}]", "batch")
        check_range(self, "[0, inf)", "warmup")
        check_range(self, "(0, inf]", "clip")
        check_range(self, "[0, 1)", "adam_betas", "ema")
        if not self.ema:
            raise ConfigError("ema = (): at least one decay is needed, for instance 0.999.")


@dataclass(frozen=True)
class RandomSettings(Settings):
    """Seed and random augmentation."""

    #: Random horizontal flips of real images.
    flip: bool = False
    #: Seed of initial weights, noise, times and the order of the data.
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[0, inf)", "seed")


@dataclass(frozen=True)
class SystemSettings(Settings):
    """Use of the machine: none of these changes results beyond rounding."""

    #: Device: auto (CUDA if available), cpu or cuda.
    device: str = "auto"
    #: Precision of the networks by autocast; weights, losses and optimisers stay in fp32. auto: bf16 on GPUs that
    #: support it, else fp32.
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    #: Maximum generated images per micro-batch and process; gradients of the micro-batches are accumulated. Real images
    #: are split into the same number of micro-batches. 0: as large as fits into memory.
    micro_batch: int = 0
    #: channels_last (NHWC) memory format. None: on GPUs, and on CPUs in fp32 for networks of 64 channels or more. No
    #: effect on networks without convolutions and on your own network.
    channels_last: bool | None = None
    #: Fused Adam: one kernel for all weights.
    fused: bool = True
    #: Activation checkpointing: activations inside blocks are recomputed in the backward pass instead of stored. A
    #: third more arithmetic, much less memory.
    activation_checkpointing: bool = False
    #: torch.compile the networks; the first updates take minutes.
    compile: bool = False
    #: Shard weights, gradients, optimiser states and EMA over the processes (FSDP2): less memory for more
    #: communication.
    shard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_device(self.device)
        check_range(self, "[0, inf)", "micro_batch")
        if self.shard and self.compile:
            raise ConfigError("shard = True with compile = True: kernels are written for whole weights. Leave one out.")


@dataclass(frozen=True)
class LoggingSettings(Settings):
    """Logging, evaluation and checkpoints during training."""

    #: Updates between lines of metrics.jsonl. 0: never.
    log_every: int = 20
    #: Updates between evaluations (quick FD, which also selects the best checkpoint). 0: never.
    evaluate_every: int = 0
    #: Updates between sample grids. 0: never.
    sample_every: int = 0
    #: Text file with prompts, one a line, for the sample grids of models that read prompts. None: captions of the data.
    grid_prompts: str | None = None
    #: Updates between checkpoints to resume from. 0: only at the end.
    save_every: int = 0
    #: Number of checkpoints kept.
    keep: int = 2
    #: Number of samples of a quick FD, the FD computed during training.
    quick_samples: int = 2000
    #: Also log to Weights & Biases under this project name (needs realuid[wandb]; the key comes from `wandb login`).
    wandb: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[0, inf)", "log_every", "evaluate_every", "sample_every", "save_every")
        check_range(self, "[1, inf)", "keep")
        check_range(self, f"[2, {MOST_SAMPLES}]", "quick_samples")


def to_dict(config: object) -> dict:
    """A configuration as plain JSON / YAML values."""
    plain = _plain(dataclasses.asdict(config))  # type: ignore[call-overload]
    assert isinstance(plain, dict)
    return plain


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
