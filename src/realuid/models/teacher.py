"""Any module or callable as a matching model."""

from __future__ import annotations

from realuid.errors import ConfigError
from realuid.models.matching import MatchingModel
from realuid.models.networks.own import Function, OwnNetwork
from realuid.models.preconditioning import Plain, Preconditioning, Reversed, Steps, own_preconditioning
from realuid.models.saving.weights import check_sample
from realuid.paths import Path, heads, make_path


class Teacher(MatchingModel):
    """A matching model around any module or callable: `Teacher(network, (3, 32, 32), prediction="velocity")`.

    Args:
        function: called as function(x_t, time), or function(x_t, time, labels) where num_classes is not 0; time has
            shape (b,), labels are int64, shape (b,).
        shape: of one sample, for instance (3, 32, 32).
        path: the path it was trained on, or the name of one in `realuid.paths.PATHS`.
        prediction: what it predicts, a name in `realuid.paths.PREDICTIONS`; by default what networks on this path
            usually do.
        num_classes: of a class-conditional network.
        time_scale: its time input at t = 1: 1 by default; 1000 for a network that counts steps. On a path of discrete
            steps (`ddpm`) it is told their numbers, 0 to 999, by default and with time_scale = 1000.
        reverse_time: whether its time is 0 at noise and 1 at data; its velocity is then data - noise.
        preconditioning: in place of time_scale and reverse_time, one of `realuid.models.PRECONDITIONINGS`.

    Raises:
        CheckpointError: for a shape that is not of positive whole numbers.
        ConfigError: for an object that cannot be called, and contradictory settings.
    """

    def __init__(
        self,
        function: Function,
        shape: tuple[int, ...],
        path: str | Path = "linear",
        prediction: str | None = None,
        *,
        num_classes: int = 0,
        time_scale: float | None = None,
        reverse_time: bool = False,
        preconditioning: Preconditioning | None = None,
    ):
        if not callable(function):
            raise ConfigError(
                f"a {type(function).__name__} cannot be called: pass a module or a function of (x, time)."
            )
        check_sample(tuple(shape))
        path = make_path(path) if isinstance(path, str) else path
        prediction = prediction or path.default_prediction
        if preconditioning is None:
            scale = 1.0 if time_scale is None else float(time_scale)
            sign = -1.0 if prediction == "velocity" else 1.0
            preconditioning = Reversed(scale, sign) if reverse_time else Plain(scale)
            own = own_preconditioning(path, prediction)
            if isinstance(own, Steps) and time_scale in (None, own.time_scale) and not reverse_time:
                preconditioning = own
        elif time_scale is not None or reverse_time:
            raise ConfigError("time_scale and reverse_time are what a preconditioning decides: pass either.")
        super().__init__(OwnNetwork(function, shape, num_classes, heads(prediction)), path, prediction, preconditioning)
        self.eval()
