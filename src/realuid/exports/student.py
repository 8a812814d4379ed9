"""An exported student, run by whatever its format is for, behind the call of our own: noise and condition in."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from realuid.data import to_float
from realuid.errors import CheckpointError
from realuid.exports.contract import Contract
from realuid.models import Condition, ConditionSpec
from realuid.models.calls import check_calls
from realuid.models.saving.folder import class_names


class ExportedStudent(ABC):
    """A one-step student that another library computes.

    Args:
        contract: what it takes and returns.
    """

    def __init__(self, contract: Contract):
        self.contract = contract
        self.device = torch.device("cpu")
        self.calls = 1
        #: Images are images already: where the network makes latents, the exported file decodes them itself.
        self.codec = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.contract.shape

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one sample as people see it."""
        return self.contract.image_shape

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What it is conditioned on."""
        return self.contract.conditions

    @property
    def coupled(self) -> bool:
        """Whether it starts from source images x_T."""
        return self.contract.coupled

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where unconditional."""
        return self.contract.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, where they have some."""
        return class_names(self.contract.about.get("classes"), self.num_classes)

    def first_calls(self, calls: int | None) -> ExportedStudent:
        """The student that makes so many calls: all of them, or an error."""
        check_calls(self, calls)
        return self

    def predictions(self, z: Tensor, condition: Condition | None = None, eps: Tensor | None = None) -> list[Tensor]:
        """Its samples: of one kind."""
        return [self(z, condition, eps)]

    @abstractmethod
    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Images for inputs in the order of `Contract.inputs`, on `device`."""

    @abstractmethod
    def to(self, device: torch.device | str) -> ExportedStudent:
        """The same student on a device."""

    @torch.no_grad()
    def __call__(self, z: Tensor, condition: Condition | None = None, eps: Tensor | None = None) -> Tensor:
        """Standard normal z, shape (b, *shape), to samples in data units, float32, shape (b, *image_shape).

        `eps`, the noise of later calls, is not read: exported files make one call.

        Raises:
            ConfigError: where a part of the condition is missing.
            CheckpointError: where the file cannot compute what its contract promises, for instance some classes.
        """
        inputs = self.contract.arguments(z.float(), condition or Condition())
        try:
            images = self.run(tuple(value.to(self.device) for value in inputs))
        except Exception as error:  # of any operator of torch, and of ONNX Runtime's own types
            reason = " ".join(str(error).split())
            if isinstance(error, MemoryError | torch.OutOfMemoryError) or "memory" in reason or "alloc" in reason:
                raise
            raise CheckpointError(
                f"the exported generator cannot compute what it promises ({reason[:200]})."
            ) from error
        return to_float(images) if images.dtype == torch.uint8 else images
