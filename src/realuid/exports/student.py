"""Exported students, run by other libraries, with the interface of `Student`."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from realuid.data import to_float
from realuid.errors import CheckpointError, ConfigError
from realuid.exports.contract import Contract
from realuid.memory import is_out_of_memory
from realuid.models import Condition, ConditionSpec
from realuid.models.calls import check_calls
from realuid.models.codec import Codec
from realuid.models.networks.condition import SOURCE
from realuid.models.saving.checks import class_counts, class_names


class ExportedStudent(ABC):
    """A student run by another library.

    Args:
        contract: what it takes and returns.
    """

    def __init__(self, contract: Contract):
        self.contract = contract
        self.device = torch.device("cpu")
        #: None: its results are images, though the network may make latents.
        self.codec: Codec | None = None

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
        """Number of classes, 0 if unconditional."""
        return self.contract.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, if they have names."""
        return class_names(self.contract.about.get("classes"), self.num_classes)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """How often the training data has each class, if known."""
        return class_counts(self.contract.about.get("class_counts"), self.num_classes)

    @property
    def calls(self) -> int:
        """Number of network calls for a sample."""
        return self.contract.calls

    def first_calls(self, calls: int | None) -> ExportedStudent:
        """The student that makes its first calls only.

        Raises:
            ConfigError: for another number of calls, or fewer than all of a file that holds them as one graph.
        """
        if check_calls(self, calls) == self.calls:
            return self
        if self.contract.graph == "whole":
            raise ConfigError(
                f"calls = {calls}: the file makes all {self.calls} calls at once. Leave calls out, or export one call "
                "with --graph call."
            )
        assert self.contract.schedule is not None and calls is not None, "a graph of one call"
        fewer = copy.copy(self)
        fewer.contract = dataclasses.replace(self.contract, schedule=self.contract.schedule.first(calls))
        return fewer

    @abstractmethod
    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Images for inputs in the order of `Contract.inputs`, on `device`."""

    @abstractmethod
    def to(self, device: torch.device | str) -> ExportedStudent:
        """The same student on a device."""

    def __call__(self, z: Tensor, condition: Condition | None = None, eps: Tensor | None = None) -> Tensor:
        """Samples in data units, float32, shape (b, *image_shape); latents where there is a `codec`.

        Args:
            z: standard normal, shape (b, *shape).
            condition: what `conditions` declares.
            eps: standard normal noise of later calls, shape (b, calls - 1, *shape), read where the student takes some.

        Raises:
            ConfigError: where noise or a part of the condition is missing.
            CheckpointError: where the file cannot compute what its contract promises, for instance some classes.
        """
        return self.predictions(z, condition, eps)[-1]

    @torch.no_grad()
    def predictions(self, z: Tensor, condition: Condition | None = None, eps: Tensor | None = None) -> list[Tensor]:
        """Samples after 1, 2, ... calls, where the graph is one call; otherwise after all. Arguments as of a call."""
        contract, given = self.contract, condition or Condition()
        if contract.draws and eps is None:
            raise ConfigError(f"a student of {self.calls} calls needs eps, the noise of its later calls.")
        z, eps = z.float(), None if eps is None else eps.float()
        if contract.graph == "whole":
            first = (z, eps) if contract.draws and eps is not None else (z,)
            return [self._run(contract.arguments(first, given))]
        schedule, x_T = contract.schedule, given.get(SOURCE)
        assert schedule is not None, "the schedule of a graph of one call"
        x_t, found = schedule.start(z, x_T), list[Tensor]()
        for k, time in enumerate(schedule.times):
            if k:
                x_t = schedule.next_input(k - 1, x_t, found[-1], x_T, None if eps is None else eps[:, k - 1])
            found.append(self._run(contract.arguments((x_t, torch.full((len(z),), time)), given)).to(z.device))
        return found

    def _run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        try:
            images = self.run(tuple(value.to(self.device) for value in inputs))
        except Exception as error:  # of any operator of torch, and of ONNX Runtime's own types
            if is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"the exported generator cannot compute what it promises ({reason[:200]})."
            ) from error
        expected = (len(inputs[0]), *self.contract.result_shape)
        if images.shape != expected:
            raise CheckpointError(
                f"the exported generator makes {tuple(images.shape)}, where its contract promises {expected}. "
                "Export it again."
            )
        return to_float(images) if images.dtype == torch.uint8 else images
