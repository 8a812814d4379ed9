"""Quick FDs: the evaluation during training."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from realuid.metrics import Evaluator
from realuid.models import MatchingModel, Student
from realuid.processes import Part
from realuid.training.health.vitals import Looks
from realuid.training.task import QuickFDs, Task

#: Seed of the samples in grids and quick FDs: the same noise every time, so that progress can be seen.
SAMPLE_SEED = 1234
#: Called with an average of the learner, its decay and its quick FD.
Consider = Callable[[nn.Module, float, float], None]


def evaluate_averages(
    task: Task, evaluator: Evaluator, count: int, part: Part, consider: Consider
) -> tuple[QuickFDs, dict[str, float]]:
    """Quick FD of every EMA, of the first one at every number of calls.

    Args:
        task: whose averages.
        evaluator: data and features.
        count: number of samples.
        part: of several processes that divide the samples.
        consider: sees every average while its weights are in place.

    Returns:
        the FDs ("fd": of the first EMA), and what `Looks` sees of the first EMA's samples.
    """
    entry: QuickFDs = {}
    seen: dict[str, float] = {}
    first = task.ema.decays[0]
    for decay in task.ema.decays:
        with task.ema.applied(decay) as model:
            assert isinstance(model, MatchingModel | Student)
            looks = Looks(evaluator.data, model, count, part)
            samples = looks.watch(task.sample(model, count, SAMPLE_SEED, part))
            found = evaluator.score_each(samples, task.calls, full=False, part=part)
            entry[f"fd/ema_{decay}"] = fd = found[-1].fd
            if decay == first:
                seen = looks.summary() | {"diversity": found[-1].diversity}
                if task.calls > 1:
                    entry |= {f"fd/calls_{calls}": scores.fd for calls, scores in enumerate(found, 1)}
            consider(model, decay, fd)
    return {"fd": entry[f"fd/ema_{first}"], **entry}, seen
