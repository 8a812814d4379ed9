"""Export of a student as a diffusers pipeline folder.

A student of one call whose network is an ordinary `UNet2DModel` becomes diffusers' own `ConsistencyModelPipeline`,
which takes one step by default: its scheduler's parametrisation is folded into the weights, and
`DiffusionPipeline.from_pretrained` needs no other code. Any other student is written as a torch.export program with a
short pipeline beside it; for a student of several calls, the program is one call, and the config of a scheduler holds
the times. Text-to-image students are the pipeline of their teacher's class (`prompted`).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
from diffusers import CMStochasticIterativeScheduler, ConsistencyModelPipeline, UNet2DModel
from torch import Tensor

from realuid._version import __version__
from realuid.errors import CheckpointError, ExportError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.folding import foldable, refit
from realuid.exports.form import Form, form_of
from realuid.exports.program import ProgramStudent, write_program
from realuid.exports.prompted import is_prompted, needs_code, write_prompted
from realuid.exports.student import ExportedStudent
from realuid.exports.templates import copy_template
from realuid.loaders.diffusers_folder import INDEX, SCHEDULER
from realuid.models import Student
from realuid.models.codec import load_codec
from realuid.models.networks.specs import ConditionSpec, label_spec
from realuid.models.saving.diffusers_weights import load_diffusers_model, read_diffusers_config
from realuid.reading import read_json, read_limited

#: Where a folder with its own pipeline keeps the program.
_PROGRAM = Path("student") / "student.pt2"
#: Where it keeps the autoencoder, if the program makes latents.
_DECODER = "vae"


def needs_own_code(generator: Student) -> str | None:
    """Why diffusers' own classes cannot compute a generator, or None where they can."""
    if is_prompted(generator):
        return needs_code(generator)
    if generator.calls > 1:
        return f"it makes {generator.calls} calls at times of its own"
    if (reason := foldable(generator)) is not None:
        return reason
    if len(set(generator.model.shape[1:])) > 1:
        return f"its images are {generator.model.shape[2]}x{generator.model.shape[1]}, not square"
    if (skip := form_of(generator).skip) < 0:
        return f"{skip:.3g} z passes the network, and a consistency model's share is positive"
    return None


def write_diffusers(generator: Student, out: Path, contract: Contract) -> None:
    """Fill an existing, empty folder with a pipeline.

    Raises:
        ExportError: for a generator of points, or of a network that cannot be traced.
    """
    if is_prompted(generator):
        write_prompted(generator, out, contract)
        return
    if len(contract.shape) != 3:
        raise ExportError(
            f"diffusers' pipelines are for images, but the samples have shape {contract.shape}. Use onnx or torch."
        )
    if needs_own_code(generator) is None:
        form = form_of(generator)
        line = _Line.matching(form)
        unet = refit(generator, form, into=line.into, out=line.out, time=line.time)
        ConsistencyModelPipeline(unet, line.scheduler()).save_pretrained(out)
    else:
        _write_own_pipeline(generator, out, contract)
    (out / ABOUT).write_text(contract.to_json())


class _Line(NamedTuple):
    """What a consistency model computes in one step from standard normal z: c_skip s z + c_out F(into z; time).

    Song et al. 2023, App. C: c_skip = d^2 / ((s - e)^2 + d^2), c_out = (s - e) d / sqrt(s^2 + d^2) and
    into = s / sqrt(s^2 + d^2), where s = sigma_max, e = sigma_min, d = sigma_data.
    """

    sigma_max: float
    sigma_min: float
    sigma_data: float

    @classmethod
    def matching(cls, form: Form) -> _Line:
        """c_skip s = A: s = 2 A and e = d = A. A = 0: s so far above d that 1e-9 of the noise passes, no more."""
        return cls(2 * form.skip, form.skip, form.skip) if form.skip > 1e-6 else cls(2.0**10, 0.0, 2.0**-10)

    @property
    def into(self) -> float:
        return self.sigma_max / math.hypot(self.sigma_max, self.sigma_data)

    @property
    def out(self) -> float:
        return (self.sigma_max - self.sigma_min) * self.sigma_data / math.hypot(self.sigma_max, self.sigma_data)

    @property
    def time(self) -> float:
        scheduler = self.scheduler()
        scheduler.set_timesteps(1)
        return float(scheduler.timesteps[0])

    def scheduler(self) -> CMStochasticIterativeScheduler:
        """Two training steps at most: asked for more, it refuses."""
        return CMStochasticIterativeScheduler(
            num_train_timesteps=2,
            sigma_min=self.sigma_min,
            sigma_max=self.sigma_max,
            sigma_data=self.sigma_data,
            rho=1.0,
            clip_denoised=False,
        )


def _write_own_pipeline(student: Student, out: Path, contract: Contract) -> None:
    """The program, and the code that dresses it as a pipeline; of several calls with a scheduler of their times."""
    (out / _PROGRAM).parent.mkdir()
    write_program(student, out / _PROGRAM, contract)
    name = "pipeline.py" if contract.graph == "whole" else "rollout.py"
    copy_template(name, out / "pipeline.py")
    copy_template("one_step.py", (out / _PROGRAM).parent / "one_step.py")
    index: dict[str, Any] = {
        "_class_name": ["pipeline", "OneStepPipeline" if contract.graph == "whole" else "RolloutPipeline"],
        "_diffusers_version": diffusers.__version__,
        "student": ["one_step", "OneStepStudent"],
    }
    if contract.graph == "call":
        assert contract.schedule is not None, "the schedule of a graph of one call"
        folder = out / "scheduler"
        folder.mkdir()
        copy_template("renoising.py", folder / "renoising.py")
        _write_json(folder / SCHEDULER, {"_class_name": "RenoisingScheduler", **contract.schedule.to_dict()})
        index["scheduler"] = ["renoising", "RenoisingScheduler"]
    if not contract.decodes and student.codec is not None:
        student.codec.save(out / _DECODER)
        index[_DECODER] = ["diffusers", type(student.codec.autoencoder).__name__]
    config = {"shape": contract.shape, "num_classes": contract.num_classes, "inputs": contract.inputs}
    about = {"_class_name": "OneStepStudent", "_realuid_version": __version__, **config}
    _write_json((out / _PROGRAM).parent / "config.json", about)
    _write_json(out / INDEX, index)


def _write_json(to: Path, values: dict[str, Any]) -> None:
    to.write_text(json.dumps(values, indent=2) + "\n")


class PipelineStudent(ExportedStudent):
    """A student as a consistency model of diffusers, ours or anybody's: its own network and scheduler take one step.

    Args:
        folder: of the pipeline.

    Raises:
        CheckpointError: where it is damaged.
    """

    def __init__(self, folder: Path):
        self.unet = load_diffusers_model(UNet2DModel, folder / "unet")
        settings = read_diffusers_config(folder / "scheduler" / SCHEDULER)
        try:
            self.scheduler = CMStochasticIterativeScheduler.from_config(settings)
        except Exception as error:  # the file may say anything
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"the scheduler of '{folder}' cannot be used ({reason}).") from error
        config = self.unet.config
        shape = (config.out_channels, config.sample_size, config.sample_size)
        classes = config.num_class_embeds or 0
        super().__init__(_written(folder, shape, classes) or Contract(shape, shape, _labels(classes)))

    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        noise, labels = (*inputs, None)[:2]
        self.scheduler.set_timesteps(1, device=self.device)
        t, x = self.scheduler.timesteps[0], noise * self.scheduler.init_noise_sigma
        output = self.unet(self.scheduler.scale_model_input(x, t), t, class_labels=labels, return_dict=False)[0]
        return self.scheduler.step(output, t, x, return_dict=False)[0]

    def to(self, device: torch.device | str) -> PipelineStudent:
        self.device = torch.device(device)
        self.unet.to(self.device)
        return self


def _labels(classes: int) -> tuple[ConditionSpec, ...]:
    return (label_spec(classes),) if classes else ()


def _written(folder: Path, shape: tuple[int, ...], classes: int) -> Contract | None:
    """The contract in a folder that `write_diffusers` wrote: it knows names of classes, and which one is none.

    Raises:
        CheckpointError: where it is damaged, or of another network.
    """
    if not (folder / ABOUT).exists():
        return None
    contract = Contract.from_json(read_limited(folder / ABOUT).decode(errors="replace"), str(folder))
    last_is_none = classes - contract.num_classes in (0, 1)
    one_call = contract.schedule is None and not contract.uint8
    if (contract.shape, contract.image_shape) != (shape, shape) or not one_call or not last_is_none:
        raise CheckpointError(f"'{folder}' is damaged: {ABOUT} is of another network than unet/.")
    if contract.conditions != _labels(contract.num_classes):
        raise CheckpointError(f"'{folder}' is damaged: its network does not read what {ABOUT} says.")
    return contract


def is_one_step(folder: Path) -> bool:
    """Whether a folder is a pipeline that takes one step: a consistency model, or one that `write_diffusers` wrote."""
    if (folder / _PROGRAM).is_file() or ((folder / ABOUT).is_file() and (folder / INDEX).is_file()):
        return True  # prepared data has a file of that name, too
    try:
        index = read_json(folder / INDEX)
    except CheckpointError:
        return False
    return index.get("_class_name") == ConsistencyModelPipeline.__name__


def read_diffusers(folder: Path) -> ExportedStudent:
    """The student of a folder that `is_one_step`. None of the code in the folder runs.

    Raises:
        CheckpointError: where it is damaged.
    """
    if not (folder / _PROGRAM).is_file():
        kind = read_json(folder / INDEX).get("_class_name")
        if kind != ConsistencyModelPipeline.__name__:
            raise CheckpointError(f"'{folder}' is an exported {kind}, which diffusers runs as its README.md shows.")
        return PipelineStudent(folder)
    student = ProgramStudent(folder / _PROGRAM)
    if not student.contract.decodes:
        named = read_json(folder / INDEX).get(_DECODER)
        if not isinstance(named, list) or len(named) != 2:
            raise CheckpointError(f"'{folder}' is damaged: {INDEX} does not name the autoencoder of its latents.")
        student.codec = load_codec(folder / _DECODER, str(named[1]))
    return student
