"""How a pipeline of diffusers without an interface calls its denoiser, from one call of the pipeline itself.

Two prompts are given in one batch for two steps. Arguments that change between the steps are the sample and the time;
those whose rows differ are conditions; all others are constant. The recording is used only if calling the denoiser by
it gives what the pipeline's scheduler got.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from realuid.errors import CheckpointError
from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces.base import default_guidance
from realuid.models.networks.interfaces.recorded import Recorded
from realuid.models.prompts import POOLED, TEXT, TEXT_MASK
from realuid.models.saving.diffusers_weights import quiet_diffusers

#: Two prompts of different words and lengths.
PROMPTS = ("a", "a photo of the red cat on blue")
#: Numbers of a constant tensor that settings may hold.
_MOST = 4096
_TOLERANCE = 1e-5
#: Arguments of calls that are set where a pipeline takes them.
_PLAIN = {"guidance_scale": 1.0, "true_cfg_scale": 1.0, "use_resolution_binning": False, "clean_caption": False}

Arguments = dict[str, Any]


class _HeardError(Exception):
    """Ends a pipeline's call once its denoiser was called."""


def record(pipeline: Any, part: str, size: Sequence[int] | None = None) -> dict[str, Any]:
    """The further settings of a network, as `Recorded` reads them.

    Args:
        pipeline: with all that it needs to make latents.
        part: name of the denoiser, unet or transformer.
        size: of images, (height, width), of videos (frames, height, width); None: the pipeline's own.

    Raises:
        CheckpointError: where the pipeline's call cannot be reproduced; it says why.
    """
    kind, denoiser = type(pipeline).__name__, getattr(pipeline, part)
    try:
        calls, steps = _listened(pipeline, denoiser, size)
    except Exception as error:  # a pipeline of any class may raise anything
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{_cannot(kind)} it fails with two prompts and two steps ({reason}).") from error
    if len(steps) != 2 or len(calls) != 2:
        raise CheckpointError(f"{_cannot(kind)} it calls its {part} {len(calls)} times in {len(steps)} steps.")
    changing = [name for name in calls[0] if not _same(calls[0][name], calls[1].get(name))]
    latents = steps[0][2]
    samples = [n for n in changing if isinstance(calls[0][n], Tensor) and calls[0][n].shape == latents.shape]
    times = [name for name in changing if name not in samples]
    if len(samples) != 1 or len(times) != 1 or latents.dim() not in (4, 5):
        shapes = ", ".join(f"{name} {tuple(getattr(calls[0][name], 'shape', ()))}" for name in changing)
        raise CheckpointError(
            f"{_cannot(kind)} besides a sample of shape {tuple(latents.shape)} and a time, what changes between steps "
            f"is {shapes or 'nothing'}."
        )
    divisor, offset = _line([float(step[1]) for step in steps], [float(_first(call[times[0]])) for call in calls])
    told, fixed = _sorted(kind, calls[0], {samples[0], times[0]})
    settings = {
        "sample": samples[0],
        "time": times[0],
        "divisor": divisor,
        "offset": offset,
        "told": told,
        "fixed": fixed,
    }
    whole = all(float(step[1]).is_integer() for step in steps) and not hasattr(pipeline.scheduler, "shift")
    settings |= {"size": list(latents.shape[1:]), "steps": whole, "sign": 1}
    settings["guidance"] = default_guidance(type(pipeline))
    _settle_sign(kind, denoiser, calls, steps, settings)
    return settings


def _settle_sign(kind: str, denoiser: nn.Module, calls: list[Arguments], steps: list[Any], settings: Arguments) -> None:
    """Check that a recording reproduces what the scheduler got, with the sign that does.

    Raises:
        CheckpointError: where neither does.
    """
    worst = {}
    for sign in (1, -1):
        settings["sign"], off = sign, 0.0
        for arguments, (output, time, _) in zip(calls, steps, strict=True):
            x = arguments[settings["sample"]]
            condition = condition_of(arguments, settings["told"])
            with torch.no_grad():
                found = Recorded().call(denoiser, x, time.float().expand(len(x)), condition, settings)
            off = max(off, float((found - output).abs().max() / output.abs().max().clamp(min=1)))
        worst[sign] = off
    settings["sign"] = min(worst, key=lambda sign: worst[sign])
    if not worst[settings["sign"]] < _TOLERANCE:
        raise CheckpointError(
            f"{_cannot(kind)} its scheduler gets something else than its denoiser returns (off by "
            f"{worst[settings['sign']]:.2g})."
        )


def prompt_arguments(pipeline: Any, part: str, prompts: Sequence[str], calls: int = 1) -> list[Arguments]:
    """What the denoiser is called with for prompts, one row each; the denoiser itself does not run.

    Args:
        pipeline: whose denoiser has no weights.
        part: name of the denoiser.
        prompts: at least one.
        calls: of the denoiser: 1 without guidance, 2 with it. Of a doubled batch both halves are answered.
    """
    heard: list[Arguments] = []

    def stop(module: nn.Module, args: tuple[Any, ...], kwargs: Arguments) -> None:
        halves = [_named(module, args, kwargs, len(prompts), half) for half in (1, 0)[:calls]]
        heard.extend(halves)
        if len(heard) >= 2 * calls or not all(_same(halves[0].get(name), value) for name, value in halves[-1].items()):
            raise _HeardError

    handle = getattr(pipeline, part).register_forward_pre_hook(stop, with_kwargs=True)
    with contextlib.suppress(_HeardError):
        try:
            _call(pipeline, prompts, None, guidance=float(calls))
        finally:
            handle.remove()
    return heard


class RecordedPrompts(Recorded):
    """How a pipeline encodes prompts: what its call tells its denoiser.

    Args:
        pipeline: whose denoiser has no weights.
        part: name of the denoiser.

    Raises:
        CheckpointError: where the call fails, or tells no embeddings.
    """

    def __init__(self, pipeline: Any, part: str):
        kind = type(pipeline).__name__
        self.part = part
        try:
            arguments = prompt_arguments(pipeline, part, PROMPTS)[0]
        except Exception as error:  # a pipeline of any class may raise anything
            raise CheckpointError(
                f"{_cannot(kind)} it fails with prompts ({' '.join(str(error).split())[:200]})."
            ) from error
        self.told = _sorted(kind, arguments, set(), with_fixed=False)[0]

    def encode(self, pipeline: Any, prompts: Sequence[str]) -> Condition:
        return condition_of(prompt_arguments(pipeline, self.part, prompts)[0], self.told)

    def null(self, pipeline: Any) -> Condition:
        """What its guidance tells the denoiser for any prompt; without guidance, an empty prompt."""
        for arguments in prompt_arguments(pipeline, self.part, PROMPTS, calls=2):
            found = condition_of(arguments, self.told)
            if torch.equal(found[TEXT][0], found[TEXT][1]):
                return found.select(slice(0, 1))
        return super().null(pipeline)


def condition_of(arguments: Arguments, told: Arguments) -> Condition:
    """The condition in the arguments of a call."""
    found = {name: arguments[how["argument"]] for name, how in told.items()}
    return Condition({name: value.bool() if name == TEXT_MASK else value for name, value in found.items()})


def _listened(pipeline: Any, denoiser: nn.Module, size: Sequence[int] | None) -> tuple[list[Arguments], list[Any]]:
    """Arguments of the denoiser's calls, and (output, time, sample) of the scheduler's steps."""
    calls, steps = list[Arguments](), list[Any]()
    handle = denoiser.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(_named(module, args, kwargs, len(PROMPTS))), with_kwargs=True
    )
    try:
        with _steps(pipeline.scheduler, steps):
            _call(pipeline, PROMPTS, size)
    finally:
        handle.remove()
    return calls, steps


@contextlib.contextmanager
def _steps(scheduler: Any, heard: list[Any]) -> Iterator[None]:
    step = scheduler.step

    def listening(output: Tensor, t: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        heard.append((output.clone(), torch.as_tensor(t), sample.clone()))
        return step(output, t, sample, *args, **kwargs)

    scheduler.step = listening
    try:
        yield
    finally:
        scheduler.step = step


@torch.no_grad()
def _call(pipeline: Any, prompts: Sequence[str], size: Sequence[int] | None, guidance: float = 1.0) -> None:
    taken = inspect.signature(type(pipeline).__call__).parameters
    given: Arguments = {"prompt": list(prompts), "num_inference_steps": 2, "output_type": "latent"}
    given |= {name: value for name, value in {**_PLAIN, "guidance_scale": guidance}.items() if name in taken}
    if size is not None:
        given |= dict(zip(("num_frames", "height", "width")[-len(size) :], size, strict=True))
    pipeline.set_progress_bar_config(disable=True)
    with quiet_diffusers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline(**given)


def _named(module: nn.Module, args: tuple[Any, ...], kwargs: Arguments, rows: int, half: int = 1) -> Arguments:
    """Arguments by name, those in dictionaries as 'outer.inner'; of a doubled batch one half, by default the second."""
    names = list((getattr(module, "__signature__", None) or inspect.signature(module.forward)).parameters)
    flat: Arguments = {}
    for name, value in {**dict(zip(names, args, strict=False)), **kwargs}.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": entry for inner, entry in value.items()}
        elif name != "return_dict" and value is not None:
            flat[name] = value
    return {name: _rows(value, rows, half) for name, value in flat.items() if value is not None}


def _rows(value: Any, rows: int, half: int) -> Any:
    if not isinstance(value, Tensor):
        return value
    doubled = value.dim() > 0 and len(value) == 2 * rows
    return (value[half * rows :][:rows] if doubled else value).detach().clone()


def _sorted(kind: str, arguments: Arguments, known: set[str], with_fixed: bool = True) -> tuple[Arguments, Arguments]:
    """Conditions and constants among arguments."""
    told: Arguments = {}
    fixed: Arguments = {}
    for name, value in arguments.items():
        if name in known:
            continue
        if isinstance(value, Tensor) and len(value.shape) and len(value) == len(PROMPTS) and _differs(value, name):
            if not with_fixed and value.dim() not in (2, 3):
                continue  # the sample, or a time
            entry = TEXT if value.dim() == 3 else TEXT_MASK if not value.is_floating_point() else POOLED
            if entry in told or value.dim() not in (2, 3):
                raise CheckpointError(f"{_cannot(kind)} {name}, {tuple(value.shape)}, is told of prompts, too.")
            told[entry] = {"argument": name, "width": value.shape[-1], "dtype": str(value.dtype)[6:]}
        elif with_fixed:
            fixed[name] = _constant(kind, name, value)
    if TEXT not in told:
        raise CheckpointError(f"{_cannot(kind)} its denoiser is told no embeddings of a prompt's tokens.")
    return told, fixed


def _differs(value: Tensor, name: str) -> bool:
    """Whether an argument is of the prompts: its rows differ, or it is a mask."""
    return not torch.equal(value[0], value[1]) or (value.dim() == 2 and "mask" in name)


def _constant(kind: str, name: str, value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor) and value.numel() <= _MOST:
        each = value.dim() > 0 and len(value) == len(PROMPTS)
        kept = value[0] if each else value
        return {"numbers": kept.tolist(), "dtype": str(value.dtype)[6:], "each": each}
    what = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    raise CheckpointError(f"{_cannot(kind)} {name} ({what}) is no number and no small tensor.")


def _line(times: list[float], values: list[float]) -> tuple[float, float]:
    """Divisor and offset: of a step's number, a noise level, or one minus it, exactly; else what fits."""
    for divisor, offset in ((1.0, 0.0), (1000.0, 0.0), (-1000.0, 1.0)):
        if all(abs(t / divisor + offset - v) < 1e-6 * max(1.0, abs(v)) for t, v in zip(times, values, strict=True)):
            return divisor, offset
    divisor = (times[1] - times[0]) / (values[1] - values[0])
    return divisor, values[0] - times[0] / divisor


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    return type(a) is type(b) and not isinstance(a, Tensor) and bool(a == b)


def _first(value: Any) -> Any:
    return value.flatten()[0] if isinstance(value, Tensor) else value


def _cannot(kind: str) -> str:
    return f"the {kind[:100]} is none of those that are known here, and a recording of its call does not do:"
