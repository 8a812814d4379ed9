"""An exported generator, run by whatever its format is for, behind the call of our own: noise and condition in."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from realuid.data import to_float
from realuid.errors import ConfigError
from realuid.exports.contract import Contract
from realuid.models import Condition


class Student(ABC):
    """A one-step generator that is not ours to compute.

    Args:
        contract: what it takes and returns.
    """

    def __init__(self, contract: Contract):
        self.contract = contract
        self.device = torch.device("cpu")
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
    def coupled(self) -> bool:
        """Whether it starts from source images x_T."""
        return self.contract.coupled

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where unconditional."""
        return self.contract.num_classes

    @abstractmethod
    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Images for inputs in the order of `Contract.inputs`, on `device`."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Student:
        """The same student on a device."""

    @torch.no_grad()
    def __call__(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Standard normal z, shape (b, *shape), to samples in data units, float32, shape (b, *image_shape).

        Raises:
            ConfigError: where labels or source images are missing.
        """
        condition = condition or Condition()
        given = {"noise": z.float(), "labels": condition.labels, "x_T": condition.x_T}
        inputs = []
        for name in self.contract.inputs:
            value = given[name]
            if value is None:
                raise ConfigError(f"the exported generator takes {', '.join(self.contract.inputs)}: pass {name}.")
            inputs.append(value.to(self.device))
        images = self.run(tuple(inputs))
        return to_float(images) if images.dtype == torch.uint8 else images
