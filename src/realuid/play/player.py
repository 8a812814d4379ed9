"""What the playground computes: samples of a student and its teacher at the same noise, as pictures, with times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from realuid.data import grid_image, to_float
from realuid.errors import ConfigError
from realuid.loaders.prompts import encoder_of, prompt_condition, reads_prompts
from realuid.models import Condition, MatchingModel, Student
from realuid.models.networks.condition import LABEL, SOURCE
from realuid.models.prompts import POOLED, TEXT, PromptEncoder
from realuid.sampling import OneStep, SamplingOptions, generate
from realuid.settings import check_whole

#: Samples of a grid at most, the size in pixels that small images are magnified to, and a grid's width at most.
MOST, _SMALL, _WIDTH = 64, 96, 1024
#: Prompts that are columns of a grid at most.
_COLUMNS = 16
#: The choice of all classes in turn.
EVERY = "every class"


@dataclass(frozen=True)
class Asked:
    """What somebody asks for.

    Attributes:
        seed: of the noise.
        count: number of samples.
        label: name of a class, as `Player.labels` lists them.
        calls: of a student; None: all.
        image: to restore, where the model starts from images.
        steps: of the teacher.
        prompts: what the samples show, in turn, of models that read prompts; up to 16 are a column each.
        guidance: of the teacher.
    """

    seed: int = 0
    count: int = 16
    label: str = EVERY
    calls: int | None = None
    image: Image.Image | None = None
    steps: int = 50
    prompts: tuple[str, ...] = ()
    guidance: float = 1.0


@dataclass(frozen=True)
class Played:
    """Samples as one picture, what they cost, and how that is said."""

    picture: Image.Image
    seconds: float
    calls: int
    count: int

    @property
    def text(self) -> str:
        """'16 images in 12 ms (0.8 ms an image), 1 network call each'."""
        calls = f"{self.calls} network call{'' if self.calls == 1 else 's'} each"
        each = f"{_time(self.seconds / self.count)} an image"
        images = f"{self.count} image{'' if self.count == 1 else 's'}"
        return f"{images} in {_time(self.seconds)} ({each}), {calls}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


class Player:
    """A student, with or without its teacher, to be asked for samples.

    Args:
        student: a student, or an exported one.
        teacher: of the same samples; None: not shown.
        prompt_encoder: what `load_prompt_encoder` takes, if it is not the student's (models that read prompts).

    Raises:
        ConfigError: for models with conditions that a person cannot give here, and for a teacher of other samples.

    Attributes:
        prompted: whether it reads prompts.
    """

    def __init__(self, student: OneStep, teacher: MatchingModel | None = None, prompt_encoder: str = ""):
        if isinstance(student, MatchingModel):
            raise ConfigError("the first model is a teacher. Pass a student, and the teacher as --teacher.")
        others = [spec.name for spec in student.conditions if spec.name not in (LABEL, SOURCE, TEXT, POOLED)]
        if others:
            raise ConfigError(f"the student reads {', '.join(others)}, which cannot be given in the playground.")
        if teacher is not None and (teacher.image_shape != student.image_shape or teacher.coupled != student.coupled):
            raise ConfigError(
                f"the teacher makes images of shape {teacher.image_shape}, the student {student.image_shape}"
                f"{'' if teacher.coupled == student.coupled else ', and only one of them starts from images'}. Pass "
                "the student's teacher."
            )
        self.student, self.teacher, self.prompted = student, teacher, reads_prompts(student)
        self._encoder = _Remembering(encoder_of(student, prompt_encoder)) if self.prompted else None

    @property
    def guidance(self) -> float | None:
        """The teacher's guidance that the student learned from, if known, else 1; None if it cannot be guided."""
        if self.teacher is None or not (
            self.prompted or any(spec.null is not None for spec in self.teacher.conditions)
        ):
            return None
        about = self.student.about if isinstance(self.student, Student) else {}
        return float(about.get("distillation", {}).get("guidance", 1.0))

    @property
    def labels(self) -> list[str]:
        """Choices of a class; empty for models without."""
        count = self.student.num_classes
        names = self.student.class_names or tuple(map(str, range(count)))
        return [EVERY, *names] if count else []

    @property
    def calls(self) -> list[int]:
        """Numbers of calls that the student can make."""
        return [n for n in range(1, self.student.calls + 1) if self._makes(n)]

    def _makes(self, calls: int) -> bool:
        try:
            self.student.first_calls(calls)
        except ConfigError:  # a file that makes all at once
            return False
        return True

    def play(self, asked: Asked) -> Played:
        """Samples of the student.

        Raises:
            ConfigError: for numbers out of range, and for a missing image.
        """
        return self._play(self.student, asked, {"calls": asked.calls}, asked.calls or self.student.calls)

    def play_teacher(self, asked: Asked) -> Played | None:
        """Samples of the teacher from the same noise; None without one."""
        if self.teacher is None:
            return None
        return self._play(self.teacher, asked, {"steps": asked.steps, "guidance": asked.guidance}, asked.steps)

    def _play(self, model: MatchingModel | OneStep, asked: Asked, how: SamplingOptions, calls: int) -> Played:
        count = check_whole("count", asked.count, 1, MOST)
        if self.labels:
            if asked.label not in self.labels:
                raise ConfigError(f"class = {asked.label[:50]}: the model has {', '.join(self.labels[1:])}.")
            chosen = self.labels.index(asked.label) - 1
            how["labels"] = torch.arange(count) % self.student.num_classes if chosen < 0 else chosen
        if self._encoder is not None:
            if not asked.prompts:
                raise ConfigError("this model reads prompts. Write one.")
            how["condition"] = prompt_condition(model, asked.prompts, count, self._encoder)
        source = self._source(asked.image) if model.coupled else None
        if source is not None:
            how["sources"] = source.expand(count, *source.shape[1:])
        began = time.perf_counter()
        x = torch.cat([batch.cpu() for batch in generate(model, count, seed=asked.seed, **how)])
        seconds = time.perf_counter() - began
        if source is not None:
            x = torch.cat([source, x])  # what was given comes first
        columns = len(asked.prompts) if 1 < len(asked.prompts) <= _COLUMNS else None
        return Played(picture(x, columns), seconds, calls, count)

    def _source(self, image: Image.Image | None) -> Tensor:
        """An uploaded image as x_T, shape (1, *shape): cropped to the model's proportions and resized."""
        if image is None:
            raise ConfigError("this model starts from an image. Upload one.")
        channels, height, width = self.student.shape
        if channels not in (1, 3):
            raise ConfigError(f"the model starts from {channels} channels, which an image does not have.")
        image = image.convert("L" if channels == 1 else "RGB")
        scale = min(image.width / width, image.height / height)
        box_width, box_height = width * scale, height * scale
        left, top = (image.width - box_width) / 2, (image.height - box_height) / 2
        box = (left, top, left + box_width, top + box_height)
        small = image.resize((width, height), Image.Resampling.BOX, box=box)
        levels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).reshape(height, width, channels)
        return to_float(levels.permute(2, 0, 1)[None].contiguous())


class _Remembering:
    """An encoder that encodes the prompts it was asked for last only once: text encoders may be slow."""

    def __init__(self, encoder: PromptEncoder):
        self._encoder = encoder
        self._last: tuple[list[str], Condition] | None = None

    @property
    def source(self) -> str:
        return self._encoder.source

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    def encode(self, prompts: Sequence[str]) -> Condition:
        if self._last is None or self._last[0] != list(prompts):
            self._last = (list(prompts), self._encoder.encode(prompts))
        return self._last[1]

    def null(self) -> Condition:
        return self._encoder.null()


def picture(x: Tensor, columns: int | None = None) -> Image.Image:
    """Samples as a grid, by default about square; small images are magnified without smoothing."""
    if x.dim() == 2:
        return grid_image(x)
    columns = columns or min(8, int(len(x) ** 0.5 + 0.999))
    side = max(x.shape[-2:])
    scale = max(1, min(_SMALL, _WIDTH // columns) // side)
    return grid_image(x, columns, scale)
