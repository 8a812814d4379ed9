"""Settings of low-rank adapters of student and fake model on one frozen network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from realuid.errors import ConfigError
from realuid.settings import check_range
from realuid.training.settings import Settings

#: Those that learn in a distillation.
Role = Literal["student", "fake"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class LoraSettings(Settings):
    """Low-rank adapters instead of full copies of the network."""

    #: Rank of the LoRA adapters of student and fake model on the teacher's weights, which are in memory once. 0: no
    #: adapters, three full networks.
    lora_rank: int = 0
    #: LoRA's alpha: adapters are scaled by alpha / rank. None: the rank, a scale of 1.
    lora_alpha: float | None = None
    #: How the names of adapted layers end, with * for any characters. Empty: a rule of the network's architecture, such
    #: as the projections of attention and feed-forward layers.
    lora_targets: tuple[str, ...] = ()
    #: Which of student and fake model are adapters.
    lora_roles: Literal["both", "student", "fake"] = "both"
    #: Weight-decomposed adapters (DoRA).
    lora_dora: bool = False
    #: Precision of the shared frozen network: the teacher's own (teacher), bf16, or linear layers in 4 bits (nf4; extra
    #: realuid[bits]). The teacher's predictions are then those of the rounded weights.
    lora_base: Literal["teacher", "bf16", "nf4"] = "teacher"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[0, inf)", "lora_rank")
        if self.lora_alpha is not None:
            check_range(self, "(0, inf)", "lora_alpha")
        defaults = {"lora_alpha": None, "lora_targets": (), "lora_roles": "both", "lora_dora": False}
        for name, default in defaults.items():  # lora_base has no effect: a recipe's may stand with lora_rank = 0
            if not self.lora_rank and (value := getattr(self, name)) != default:
                raise ConfigError(
                    f"{name} = {value} without adapters: pass lora_rank, for instance 64, or leave it out."
                )

    def adapts(self, role: Role) -> bool:
        """Whether a role is an adapter on the teacher."""
        return self.lora_rank > 0 and self.lora_roles in ("both", role)
