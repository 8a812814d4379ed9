"""Settings of the student: its calls, their times and inputs, and the times in the generator's loss."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from realuid.errors import ConfigError
from realuid.models.names import Renoise
from realuid.settings import MOST_CALLS, check_range
from realuid.training.settings import Settings

if TYPE_CHECKING:
    from realuid.models.matching import MatchingModel
    from realuid.models.student import Student


@dataclass(frozen=True)
class StudentSettings(Settings):
    """The student, and the times in the generator's loss."""

    #: Number of network calls for a sample. None: the number of times, or that of the student the run starts from.
    calls: int | None = None
    #: Time of the first call; 1 in the paper. None: where noise / signal = 2.5 (SiD's sigma_init) or, on coupled paths,
    #: where the coefficients of noise and data are equal (0.8 on a Brownian bridge with noise 0.5), and 1 for flow
    #: pipelines of diffusers (SD3, FLUX, ...), whose samplers start there; or that of the student the run starts from.
    t_init: float | None = None
    #: Decreasing times of the calls. None: equal steps of the angle arctan(noise / signal) from t_init towards data, or
    #: those of the student the run starts from.
    times: tuple[float, ...] | None = None
    #: Noise added before later calls: fresh, or deterministic (implied by the previous prediction). None: fresh, or as
    #: the student the run starts from.
    renoise: Renoise | None = None
    #: Inputs of later calls in training: noised predictions of the previous calls (rollout, as in sampling), or noised
    #: real data.
    call_inputs: Literal["rollout", "data"] = "rollout"
    #: Condition the fake model on the call that made a sample: it models each call instead of their mixture. None: yes
    #: for several calls, if its network has classes or an embedding of the time that a call can be added to.
    fake_sees_call: bool | None = None
    #: Compute the losses of every call only at times between it and the next call, instead of at all times. Samples
    #: then need all calls.
    phases: bool = False
    #: Whether the student is given noise; without it, samples are a function of x_T (coupled paths only). None: yes, or
    #: as the student the run starts from.
    noise: bool | None = None
    #: Distribution of times in the generator's loss: the path's own, uniform, SiD's grid, or log-normal noise levels.
    generator_times: Literal["path", "uniform", "grid", "log-normal"] = "path"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, f"[1, {MOST_CALLS}]", "calls")
        if self.calls and self.times and len(self.times) != self.calls:
            raise ConfigError(
                f"calls = {self.calls} with times = {self.times}: pass {self.calls} times, or leave one out."
            )
        if self.times and self.t_init is not None:
            raise ConfigError(
                f"times = {self.times} and t_init = {self.t_init}: the first of times is t_init. Pass one."
            )

    def make_student(self, model: MatchingModel) -> Student:
        """A student with these settings around a model."""
        from realuid.models.student import Student

        times = self.times or self.t_init
        return Student(model, times, self.noise is not False, self.renoise or "fresh", calls=self.calls)

    @property
    def number_of_calls(self) -> int:
        """Network calls of the student for a sample."""
        return self.calls or len(self.times or (0,))

    def of_student(self, student: Student) -> Self:
        """These settings, completed by those of the student that the run starts from.

        Its times are kept, or replaced by another number of calls from its first time.

        Raises:
            ConfigError: if these settings contradict it.
        """
        asked = self.number_of_calls if self.calls or self.times else student.calls
        fixed: dict[str, Any] = {"noise": student.noise}
        if asked == student.calls:
            fixed |= {"times": student.times, "t_init": student.t_init, "renoise": student.renoise}
        for name, theirs in fixed.items():
            if getattr(self, name) not in (None, theirs):
                raise ConfigError(
                    f"{name} = {getattr(self, name)}, but the generator to start from has {theirs}. Leave {name} out."
                )
        times = self.times or student.model.path.call_times(asked, self.t_init or student.t_init)
        own: dict[str, Any] = {"noise": student.noise, "t_init": None if self.times else times[0]}
        if asked > 1:
            times = student.times if asked == student.calls else times
            own |= {"times": times, "t_init": None, "renoise": self.renoise or student.renoise}
        return dataclasses.replace(self, **own)
