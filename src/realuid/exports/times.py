"""Schedulers of diffusers that make the calls of a student: diffusers' own where one does, else one with a table.

A candidate is accepted if it makes, step by step, what the student makes, for a stand-in of the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from realuid.errors import ExportError
from realuid.exports.form import Form, form_of
from realuid.exports.schedule import Schedule
from realuid.exports.templates.calls import CallsScheduler
from realuid.models import Student
from realuid.paths import LinearPath
from realuid.paths.vp import DDPMPath

#: Largest difference of samples between a scheduler and the student, relative to the largest number of a sample.
TOLERANCE = 1e-5
_PREDICTIONS = {"noise_prediction": "epsilon", "v_prediction": "v_prediction", "data_prediction": "sample"}


def scheduler_for(student: Student, told: bool) -> Any:
    """A scheduler with which a pipeline makes a student's calls when it is asked for as many steps.

    Args:
        student: on a path without a source image.
        told: whether the pipeline tells its scheduler the noise levels 1, 1 - 1/K, ..., 1/K.

    Raises:
        ExportError: where pipelines of diffusers cannot start as the student does, or scale what the network reads.
    """
    forms = [form_of(student, call) for call in range(student.calls)]
    _check(student, forms)
    for scheduler in _of_diffusers(student, told):
        if _difference(scheduler, student, forms, told) < TOLERANCE:
            return scheduler
    scheduler = _table(student, forms)
    assert _difference(scheduler, student, forms, told) < TOLERANCE, "a table of the student's own numbers"
    return scheduler


def is_own(scheduler: Any) -> bool:
    """Whether a scheduler is none of diffusers' classes, so that its code has to be in the folder."""
    return isinstance(scheduler, CallsScheduler)


def _check(student: Student, forms: list[Form]) -> None:
    start = Schedule.of(student).noise[0]
    if any(
        abs(form.into - (start if call == 0 else 1.0)) > 1e-6 or len(form.out) > 1 for call, form in enumerate(forms)
    ):
        raise ExportError(
            f"the student's network reads scaled samples (preconditioning '{student.model.preconditioning.name}'), and "
            "the pipeline's does not. Export to onnx, torch or safetensors."
        )
    if isinstance(student.model.path, LinearPath) and abs(start - 1) > 1e-6:
        raise ExportError(
            f"the student starts at t = {student.t_init:g}, and flow pipelines of diffusers start at 1. Distil with "
            "t_init = 1, or export to onnx, torch or safetensors."
        )


def _of_diffusers(student: Student, told: bool) -> Iterator[Any]:
    """Schedulers of diffusers that may make the student's calls."""
    path, calls = student.model.path, student.calls
    if isinstance(path, DDPMPath) and calls == 1 and student.model.prediction in _PREDICTIONS:
        steps = round(student.t_init * path.num_train_timesteps)
        kept = torch.cat([torch.ones(1, dtype=torch.float64), _signal(path, steps)])
        yield EulerDiscreteScheduler(
            num_train_timesteps=steps,
            trained_betas=(1 - kept[1:] / kept[:-1]).tolist(),
            timestep_spacing="trailing",
            steps_offset=1,  # of no effect with this spacing, but pipelines ask for it
            prediction_type=_PREDICTIONS[student.model.prediction],
        )
    if isinstance(path, LinearPath):
        yield _flow(student, 1.0, None)
        if calls > 1:
            yield _flow(student, 1.0, student.times[-1])
        if calls > 2:
            yield _shifted(student, told)


def _flow(student: Student, shift: float, last: float | None) -> FlowMatchEulerDiscreteScheduler:
    fresh = student.renoise == "fresh"
    return FlowMatchEulerDiscreteScheduler(shift=shift, shift_terminal=last, stochastic_sampling=fresh)


def _shifted(student: Student, told: bool) -> FlowMatchEulerDiscreteScheduler:
    """The scheduler whose second and last noise levels are a student's.

    It maps even levels u to s u / (1 + (s - 1) u) and stretches them so that the last one is as asked for. The second
    one grows with s, so s is found by bisection.
    """
    low, high = 1e-3, 1e3
    while high / low > 1 + 1e-9:
        middle = (low * high) ** 0.5
        scheduler = _flow(student, middle, student.times[-1])
        _set(scheduler, student.calls, told)
        low, high = (middle, high) if float(scheduler.sigmas[1]) < student.times[1] else (low, middle)
    return scheduler


def _set(scheduler: Any, calls: int, told: bool) -> None:
    """Place its steps as a pipeline does."""
    given = {"sigmas": np.linspace(1.0, 1 / calls, calls)} if told else {"num_inference_steps": calls}
    scheduler.set_timesteps(**given)


def _signal(path: DDPMPath, steps: int) -> Tensor:
    """a^2 at the first steps of a grid."""
    grid = torch.arange(1, steps + 1, dtype=torch.float64) / path.num_train_timesteps
    return path.coefficients(grid).a.double() ** 2


def _table(student: Student, forms: list[Form]) -> Any:
    schedule = Schedule.of(student)
    first = forms[0].skip / schedule.noise[0]  # a form is of the noise, a step of what the network reads
    return CallsScheduler(
        times=[form.time for form in forms],
        skip=[first, *(form.skip for form in forms[1:])],
        out=[form.out[0] for form in forms],
        data=list(schedule.data),
        noise=list(schedule.noise),
        renoise=student.renoise,
    )


def _difference(scheduler: Any, student: Student, forms: list[Form], told: bool) -> float:
    """How far a scheduler's samples are from the student's, with a linear function in place of the network.

    Infinite where it has other times or another start.
    """
    _set(scheduler, student.calls, told)
    times = [float(t) for t in scheduler.timesteps]
    if len(times) != len(forms) or any(abs(t - form.time) > 1e-3 for t, form in zip(times, forms, strict=True)):
        return float("inf")
    random = torch.Generator().manual_seed(0)
    z = torch.randn(1, 1, 4, 4, generator=random)
    schedule, x, theirs = (
        Schedule.of(student),
        z,
        z * float(1.0 if told else getattr(scheduler, "init_noise_sigma", 1.0)),
    )
    for k, (form, t) in enumerate(zip(forms, scheduler.timesteps, strict=True)):
        read = theirs if told or not hasattr(scheduler, "scale_model_input") else scheduler.scale_model_input(theirs, t)
        theirs = scheduler.step(_network(read, t), t, theirs, generator=torch.Generator().manual_seed(k)).prev_sample
        inside = schedule.noise[0] * z if k == 0 else x
        x_0 = form.skip * x + form.out[0] * _network(inside, torch.tensor(form.time))
        if k + 1 < len(forms):
            e = torch.randn(z.shape, generator=torch.Generator().manual_seed(k))
            x = schedule.next_input(k, inside, x_0, e=e)
    return float((theirs - x_0).abs().max() / x_0.abs().max().clamp(min=1))


def _network(x: Tensor, time: Tensor) -> Tensor:
    return 0.7 * x + 0.1 * torch.sin(x) + 1e-4 * time
