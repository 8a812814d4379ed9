"""Random reinitialisation of a model: the initial fake model when distilling from scratch."""

from __future__ import annotations

import copy

from realuid.errors import ConfigError
from realuid.models.matching import MatchingModel
from realuid.models.networks.own import OwnNetwork
from realuid.models.saving.folder import build, describe
from realuid.seeds import seeded


def fresh(model: MatchingModel, seed: int) -> MatchingModel:
    """A copy of a model with random weights, on the CPU: rebuilt or, around a user's module, by the
    `reset_parameters` of every module in it.

    Args:
        model: not changed.
        seed: of the weights.

    Raises:
        ConfigError: naming the parameters that belong to a module without that method.
    """
    with seeded(seed):
        if isinstance(model.network, OwnNetwork):
            return _reset(copy.deepcopy(model))
        built = build(describe(model))
        assert isinstance(built, MatchingModel)
        return built


def _reset(model: MatchingModel) -> MatchingModel:
    resets = {
        name: reset
        for name, module in model.network.named_modules(remove_duplicate=False)
        if callable(reset := getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None))
    }
    left = [name for name, _ in model.network.named_parameters() if name.rpartition(".")[0] not in resets]
    if left:
        names = ", ".join(name.removeprefix("function.") for name in left[:5])
        raise ConfigError(
            f"{len(left)} parameters have no random start, since the modules they belong to have no reset_parameters: "
            f"{names}{', ...' if len(left) > 5 else ''}. Start the fake model from the teacher (fake_start = teacher), "
            "pass one (fake = ...), or give these modules that method."
        )
    for reset in reversed(resets.values()):  # submodules before their parents, whose method takes precedence
        reset()
    return model.cpu()
