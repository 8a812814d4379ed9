"""A student: a generator that calls the network of a matching model once or a few times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from realuid.compat import with_values
from realuid.errors import ConfigError, unknown_name
from realuid.models.calls import check_calls, student_times
from realuid.models.codec import Codec
from realuid.models.matching import MatchingModel
from realuid.models.names import Renoise
from realuid.models.networks.condition import SOURCE, Condition
from realuid.models.networks.specs import ConditionSpec
from realuid.models.summary import facts, one_line
from realuid.paths import LinearPath
from realuid.paths.base import broadcast
from realuid.text import in_html


class Student(nn.Module):
    """Times tau_1 > ... > tau_K and a model G(x, tau, c) that predicts data, called once at each time:

        x^(1) = start(tau_1, z),    x_k = G(x^(k), tau_k, c),    x^(k+1) = a x_k + b x_T + n e,

    a, b and the noise level n those of the path at tau_(k+1); the x_T term is there on coupled paths, where x_T comes
    with the condition. The start is the same without its data part, with e = z. `fresh`: e is new noise.
    `deterministic`: e = (x^(k) - a x_k - b x_T) / n at tau_k. x_K is the sample, and x_n is one of n calls: every call
    is trained to predict data. With one time it is G(z) = the model's data prediction at b(tau_1) z (sec. 3, App. B).

    Args:
        model: the matching model that becomes the student; distillation starts from the teacher's weights.
        times: one time or decreasing times in (0, t_max]. t_max is the paper's form (for flow G(z) = z - f(z, 1)).
            Below it is SiD's sigma_init = b / a, by default 2.5: t = 0.714 on the linear path. On coupled paths the
            default is the first time at which the noise c is as strong as the data a; for flow pipelines of diffusers
            it is t_max, where their samplers start.
        noise: whether z enters. Without it samples are a function of x_T, which only coupled paths have.
        renoise: where the noise of later calls comes from.
        t_init: another name for `times` with one time.
        calls: that many times from the one in `times` (or its default) on, as `Path.call_times` places them.

    Raises:
        ConfigError: for times outside the path's or not falling, or no noise where there is no x_T.
        PredictionError: if a data prediction does not follow from the model's own.

    Attributes:
        about: how it was trained (teacher, data, settings), JSON-ready, if known.
    """

    def __init__(
        self,
        model: MatchingModel,
        times: float | Sequence[float] | None = None,
        noise: bool = True,
        renoise: Renoise = "fresh",
        *,
        t_init: float | None = None,
        calls: int | None = None,
    ):
        super().__init__()
        self.model, self.noise, self.renoise = model, noise, renoise
        self.about: dict[str, Any] = {}
        if t_init is not None and times is not None:
            raise ConfigError(f"t_init = {t_init} and times = {times}: they mean the same, pass one of them.")
        first = times if t_init is None else t_init
        if first is None and model.network.usual_guidance is not None and isinstance(model.path, LinearPath):
            first = model.path.t_max
        with with_values():
            self.times = student_times(model.path, first, calls)
        if renoise not in get_args(Renoise):
            raise ConfigError(unknown_name("way of renoising", str(renoise), get_args(Renoise)))
        if not noise and not model.path.coupled:
            raise ConfigError(
                f"noise = False, but only coupled paths start from a source image; '{model.path.name}' is none."
            )
        model.check_space("data_prediction")

    @property
    def calls(self) -> int:
        """Number of network calls for a sample."""
        return len(self.times)

    @property
    def t_init(self) -> float:
        """The first time, where it starts."""
        return self.times[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.model.shape

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one decoded image (for models on latents), else of one sample."""
        return self.model.image_shape

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 if unconditional."""
        return self.model.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, if they have names."""
        return self.model.class_names

    @property
    def class_counts(self) -> tuple[int, ...]:
        """How often the training data has each class, if known."""
        return self.model.class_counts

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What it is conditioned on."""
        return self.model.conditions

    @property
    def coupled(self) -> bool:
        """Whether it starts from source images x_T."""
        return self.model.coupled

    @property
    def codec(self) -> Codec | None:
        """Decoder of latents to images, if samples are latents."""
        return self.model.codec

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.model.device

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self._facts())

    def _repr_html_(self) -> str:
        return in_html(type(self).__name__, self._facts())

    def _facts(self) -> dict[str, str]:
        times = ", ".join(f"{t:.3g}" for t in self.times)
        return facts(self.model, f"{self.calls}, at time{'s' if self.calls > 1 else ''} {times}")

    def forward(
        self,
        z: Tensor,
        condition: Condition | None = None,
        eps: Tensor | None = None,
        call: int | Sequence[int] | None = None,
        x_0: Tensor | None = None,
    ) -> Tensor:
        """The prediction x_k of one call at the end of a rollout; gradients pass through this call only.

        Training differentiates it at a call drawn for each sample, sampling takes the last one.

        Args:
            z: standard normal, shape (b, *shape); without `noise` only its shape counts.
            condition: what `conditions` declares.
            eps: standard normal noise of the later calls, shape (b, >= the last of them, *shape); read where there are
                such, and `renoise` is fresh or x_0 is passed.
            call: which one, counted from 0: of all samples, or of each; by default the last.
            x_0: real data, shape (b, *shape), to which noise is added for the input of a later call, instead of to the
                prediction of the call before: no rollout.

        Returns:
            samples in data units, shape (b, *shape).

        Raises:
            ConfigError: where noise is missing.
        """
        call = self.calls - 1 if call is None else call
        calls = [call] * len(z) if isinstance(call, int) else list(call)
        with torch.no_grad():
            x_t = self.start(z, condition)
            if x_0 is None:
                x_t = self._rolled_out(x_t, calls, condition, eps)
            else:
                x_t = self._noised(x_t, x_0, calls, condition, eps)
        return self.predict(calls, x_t, condition)

    @torch.no_grad()
    def sample(
        self,
        z: Tensor,
        condition: Condition | None = None,
        random: torch.Generator | None = None,
        calls: int | None = None,
    ) -> Tensor:
        """Samples without a graph, shape (b, *shape).

        Args:
            z: standard normal, shape (b, *shape).
            condition: what `conditions` declares.
            random: where fresh noise of later calls is drawn.
            calls: 1 to `calls`; by default all.

        Raises:
            ConfigError: for another number of calls.
        """
        calls = check_calls(self, calls)
        size = (z.shape[0], calls - 1, *z.shape[1:])
        eps = torch.randn(size, generator=random, device=z.device if random is None else random.device, dtype=z.dtype)
        return self(z, condition, eps.to(z.device), calls - 1)

    def first_calls(self, calls: int | None) -> Student:
        """The student of the same weights that makes its first calls only: 1 to `calls`, None for all.

        Raises:
            ConfigError: for another number of calls.
        """
        times = self.times[: check_calls(self, calls)]
        return self if times == self.times else Student(self.model, times, self.noise, self.renoise)

    @torch.no_grad()
    def predictions(self, z: Tensor, condition: Condition | None = None, eps: Tensor | None = None) -> list[Tensor]:
        """Samples of 1, 2, ..., `calls` calls from one rollout; arguments as in `forward`."""
        x_t, found = self.start(z, condition), list[Tensor]()
        for k in range(self.calls):
            if k:
                x_t = self.next_input(k - 1, x_t, found[-1], condition, None if eps is None else eps[:, k - 1])
            found.append(self.predict(k, x_t, condition))
        return found

    def _rolled_out(
        self, x_t: Tensor, calls: list[int], condition: Condition | None = None, eps: Tensor | None = None
    ) -> Tensor:
        """Every sample's input of its call, from its first input and predictions of the calls before."""
        for k in range(max(calls, default=0)):
            rows = [row for row, call in enumerate(calls) if call > k]
            every = len(rows) == len(calls)
            part: slice | Tensor = slice(None) if every else torch.tensor(rows, device=x_t.device)
            given = condition.select(part) if condition else None
            x = x_t[part]
            x = self.next_input(k, x, self.predict(k, x, given), given, None if eps is None else eps[part, k])
            x_t = x if every else x_t.index_copy(0, part, x)  # type: ignore[arg-type]
        return x_t

    def _noised(
        self, x_t: Tensor, x_0: Tensor, calls: list[int], condition: Condition | None = None, eps: Tensor | None = None
    ) -> Tensor:
        """Every sample's input of its call: of the first one x_t, of later ones real data with noise."""
        if eps is None:
            raise ConfigError(f"a student of {self.calls} calls needs eps, the noise of its later calls.")
        path, t, call = self.model.path, self._time(calls, x_t), torch.tensor(calls, device=x_t.device)
        e = eps[torch.arange(len(x_t), device=x_t.device), (call - 1).clamp(min=0)] if self.noise else 0 * x_t
        x_T = condition.get(SOURCE) if condition else None
        later = path.coefficients(t).expand(x_0).a * x_0 + path.start(t, e, x_T)
        return torch.where(broadcast(call > 0, x_t), later.to(x_t.dtype), x_t)

    def start(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """x^(1): noise and, on a coupled path, the source; nothing of x_0."""
        t, x_T = self._time(0, z), condition.get(SOURCE) if condition else None
        return self.model.path.start(t, z if self.noise else torch.zeros_like(z), x_T).to(z.dtype)

    def predict(self, k: int | Sequence[int], x_t: Tensor, condition: Condition | None = None) -> Tensor:
        """x_k = G(x^(k), tau_k, c), k counted from 0: one network call. k of all samples, or of each."""
        return self.model(x_t, self._time(k, x_t), condition, space="data_prediction")

    def next_input(
        self, k: int, x_t: Tensor, x_0: Tensor, condition: Condition | None = None, eps: Tensor | None = None
    ) -> Tensor:
        """x^(k+1), the input of the call after call k.

        Args:
            k: the call that was made, counted from 0.
            x_t, x_0: its input and its prediction, shape (b, *shape).
            condition: with x_T where the path is coupled.
            eps: fresh noise, shape (b, *shape).
        """
        path, t = self.model.path, self._time(k + 1, x_t)
        x_T = condition.get(SOURCE) if condition else None
        if not self.noise:
            e = torch.zeros_like(x_t)
        elif self.renoise == "deterministic":
            here = path.coefficients(self._time(k, x_t)).expand(x_t)
            known = here.a * x_0 if x_T is None or not path.coupled else here.a * x_0 + here.b * x_T
            e = (x_t - known) / path.noise_std(here)
        elif eps is None:
            raise ConfigError(f"a student of {self.calls} calls needs eps, the noise of its later calls.")
        else:
            e = eps
        a = path.coefficients(t).expand(x_0).a
        return (a * x_0 + path.start(t, e, x_T)).to(x_t.dtype)

    def _time(self, k: int | Sequence[int], x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        if isinstance(k, int):
            return torch.full((x.shape[0],), self.times[k], device=x.device, dtype=dtype)
        return torch.tensor([self.times[call] for call in k], device=x.device, dtype=dtype)


#: What a student was called when it had one time only.
Generator = Student
