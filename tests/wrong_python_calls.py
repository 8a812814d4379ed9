"""Wrong calls of the Python functions: name -> the call, in a folder that `build` filled, and what is said."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from conftest import small_teacher
from torch import Tensor

import realuid
from realuid.data import Dataset
from realuid.models import Generator, MatchingModel
from realuid.recipes import EvaluateConfig, PathConfig

BYTES = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)


def teacher(classes: int = 0) -> MatchingModel:
    return small_teacher(num_classes=classes)


def student(classes: int = 0) -> Generator:
    return Generator(teacher(classes))


def pictures(n: int = 8, shape: tuple[int, ...] = (1, 8, 8)) -> Dataset:
    return Dataset(torch.zeros(n, *shape, dtype=torch.uint8))


class Odd(torch.nn.Module):
    """A function of the user's own that gives something else than it should."""

    def __init__(self, answer: Callable[[Tensor], object]):
        super().__init__()
        self.weight, self.answer = torch.nn.Parameter(torch.zeros(1)), answer

    def forward(self, x: Tensor, t: Tensor) -> object:
        return self.answer(x)


CALLS: dict[str, tuple[Callable[[], object], str]] = {
    # sample
    "no samples": (lambda: realuid.sample(student(), 0), "count = 0"),
    "fewer than none": (lambda: realuid.sample(student(), -1), "count = -1"),
    "half a sample": (lambda: realuid.sample(student(), 1.5), "count = 1.5"),
    "NaN samples": (lambda: realuid.sample(student(), math.nan), "count = nan"),
    "endless samples": (lambda: realuid.sample(student(), 10**12), "count = 1000000000000"),
    "samples as text": (lambda: realuid.sample(student(), "8"), "count = 8"),
    "negative seed": (lambda: realuid.sample(student(), 2, seed=-1), "seed = -1"),
    "seed as text": (lambda: realuid.sample(student(), 2, seed="a"), "seed = a"),
    "no steps": (lambda: realuid.sample(teacher(), 2, steps=0), "steps = 0"),
    "half a step": (lambda: realuid.sample(teacher(), 2, steps=2.5), "steps = 2.5"),
    "steps of a student": (lambda: realuid.sample(student(), 2, steps=5), "steps = 5: the model is a student"),
    "unknown keyword": (lambda: realuid.sample(teacher(), 2, stesp=3), "Did you mean 'steps'?"),
    "unknown keyword of train": (lambda: realuid.train(BYTES, confg=None), "Did you mean 'config'?"),
    "unknown keyword of distill": (lambda: realuid.distill(teacher(), BYTES, stat=None), "Did you mean 'start'?"),
    "True as a number": (lambda: realuid.TeacherConfig(updates=True), "updates = True"),
    "True as a rate": (lambda: realuid.DistillConfig(alpha=True), "alpha = True"),
    "True among rates": (lambda: realuid.TeacherConfig(ema=(0.9, True)), "ema = (0.9, True)"),
    "False as a number": (lambda: realuid.DistillConfig(fake_updates=False), "fake_updates = False"),
    "True samples": (lambda: EvaluateConfig(samples=True), "samples = True"),
    "unknown sampler": (lambda: realuid.sample(teacher(), 2, sampler="eulr"), "euler"),
    "sampler of a generator": (lambda: realuid.sample(student(), 2, sampler="euler"), "sampler"),
    "guidance of a generator": (lambda: realuid.sample(student(), 2, guidance=2.0), "guidance"),
    "guidance NaN": (lambda: realuid.sample(teacher(3), 2, labels=0, guidance=math.nan), "guidance"),
    "guidance without a null": (lambda: realuid.sample(teacher(3), 2, labels=0, guidance=2.0), "guidance"),
    "labels superfluous": (lambda: realuid.sample(student(), 2, labels=[0, 1]), "labels"),
    "labels too large": (lambda: realuid.sample(student(3), 2, labels=[0, 3]), "class 3"),
    "labels negative": (lambda: realuid.sample(student(3), 2, labels=[0, -1]), "class -1"),
    "labels too few": (lambda: realuid.sample(student(3), 3, labels=[0, 1]), "shape"),
    "labels as fractions": (lambda: realuid.sample(student(3), 2, labels=[0.5, 1.0]), "labels"),
    "labels in a table": (lambda: realuid.sample(student(3), 2, labels=torch.zeros(2, 2, dtype=torch.int64)), "shape"),
    "labels of another dtype": (lambda: realuid.sample(student(3), 2, labels=torch.zeros(2, dtype=torch.bool)), "bool"),
    "labels as names": (lambda: realuid.sample(student(3), 2, labels=["cat", "dog"]), "cat"),
    "labels as objects": (lambda: realuid.sample(student(3), 2, labels=[object(), None]), "labels"),
    "sources superfluous": (lambda: realuid.sample(student(), 2, sources=torch.zeros(2, 1, 8, 8)), "sources"),
    "unknown condition": (lambda: realuid.sample(student(), 2, condition={"text": torch.zeros(2, 4)}), "text"),
    "no such model": (lambda: realuid.sample("nowhere", 2), "nowhere"),
    "a NUL in a name": (lambda: realuid.sample("a\0b", 2), "model"),
    "something else as a model": (lambda: realuid.sample(3, 2), "model"),  # type: ignore[arg-type]
    "a plain module as a model": (lambda: realuid.sample(torch.nn.Linear(2, 2), 2), "model"),  # type: ignore[arg-type]
    # loading
    "load nothing": (lambda: realuid.load_model("nowhere"), "nowhere"),
    "load an empty file": (lambda: realuid.load_model("empty.file"), "empty.file"),
    "load an empty folder": (lambda: realuid.load_model("empty.folder"), "empty.folder"),
    "load a pipe": (lambda: realuid.load_model("pipe"), "FIFO"),
    "load a device": (lambda: realuid.load_model("/dev/zero"), "device"),
    "load damaged settings": (lambda: realuid.load_model("broken.json"), "broken.json"),
    "load a number": (lambda: realuid.load_model(3), "model"),  # type: ignore[arg-type]
    "load nothing at all": (lambda: realuid.load_model(None), "model"),  # type: ignore[arg-type]
    "load a teacher as generator": (lambda: realuid.load_generator("images"), "is a teacher"),
    "load a generator as teacher": (lambda: realuid.load_teacher("gen"), "not a teacher"),
    "load an unknown kind": (lambda: realuid.load_model("gen", kind="student"), "kind"),  # type: ignore[arg-type]
    "load with a key": (lambda: realuid.load_model("gen", key="0.5"), "key"),
    "load with a network": (lambda: realuid.load_model("gen", network=torch.nn.Identity()), "network"),
    # data
    "data from nowhere": (lambda: realuid.load_dataset("nowhere"), "nowhere"),
    "data from a number": (lambda: realuid.load_dataset(3), "data"),  # type: ignore[arg-type]
    "data of two channels": (lambda: realuid.load_dataset("digits", channels=2), "channels = 2"),
    "data of no size": (lambda: realuid.load_dataset("digits", resolution=0), "resolution = 0"),
    "data of a size as text": (lambda: realuid.load_dataset("pictures", resolution="8"), "resolution"),  # type: ignore[arg-type]
    "data of unknown pairs": (lambda: realuid.load_dataset("digits", pairs="blurr-1"), "blur-1"),
    "data from a pipe": (lambda: realuid.load_dataset("pipe"), "pipe"),
    "unknown points": (lambda: realuid.load_dataset("toy:rings"), "rings"),
    "a list as values": (lambda: Dataset([[1.0]]), "list"),  # type: ignore[arg-type]
    "an array as values": (lambda: Dataset(np.zeros((4, 2))), "ndarray"),  # type: ignore[arg-type]
    "values of int64": (lambda: Dataset(BYTES.long()), "int64"),
    "values of float64": (lambda: Dataset(torch.zeros(4, 2, dtype=torch.float64)), "float64"),
    "values NaN": (lambda: Dataset(torch.full((4, 2), math.nan)), "finite"),
    "values from 0 to 255": (lambda: Dataset(torch.rand(4, 1, 8, 8) * 255), "255"),
    "too few dimensions": (lambda: Dataset(torch.zeros(4, dtype=torch.uint8)), "shape"),
    "too many dimensions": (lambda: Dataset(torch.zeros(4, 1, 2, 2, 2, dtype=torch.uint8)), "shape"),
    "labels of another length": (lambda: Dataset(BYTES, torch.zeros(3, dtype=torch.int64)), "labels"),
    "labels with fractions": (lambda: Dataset(BYTES, torch.full((8,), 0.5)), "labels"),
    "labels below 0": (lambda: Dataset(BYTES, torch.full((8,), -1), classes=("a", "b")), "-1"),
    "labels beyond the classes": (lambda: Dataset(BYTES, torch.full((8,), 2), classes=("a", "b")), "2"),
    "classes without labels": (lambda: Dataset(BYTES, classes=("a",)), "labels"),
    "sources of another shape": (lambda: Dataset(BYTES, sources=BYTES[:, :, :4]), "match"),
    "sources of another dtype": (lambda: Dataset(BYTES, sources=BYTES.float()), "match"),
    # models
    "a teacher of no shape": (lambda: realuid.Teacher(Odd(lambda x: x), ()), "shape"),
    "a teacher of shape 0": (lambda: realuid.Teacher(Odd(lambda x: x), (0, 8, 8)), "shape"),
    "a teacher of an unknown path": (lambda: realuid.Teacher(Odd(lambda x: x), (2,), path="lineal"), "linear"),
    "a teacher of an unknown prediction": (
        lambda: realuid.Teacher(Odd(lambda x: x), (2,), prediction="speed"),
        "prediction",
    ),
    "a teacher of other shapes": (lambda: realuid.sample(realuid.Teacher(Odd(lambda x: x[:, :1]), (2,)), 2), "shape"),
    "a teacher of no tensor": (lambda: realuid.sample(realuid.Teacher(Odd(lambda x: None), (2,)), 2), "NoneType"),
    "a teacher that is no function": (lambda: realuid.Teacher(3, (2,)), "int"),  # type: ignore[arg-type]
    "a generator from time 0": (lambda: Generator(teacher(), 0.0), "time"),
    "a generator beyond the end": (lambda: Generator(teacher(), 2.0), "time"),
    "a generator at NaN": (lambda: Generator(teacher(), math.nan), "time"),
    "a generator at no time": (lambda: Generator(teacher(), ()), "time"),
    # training
    "train on nothing": (lambda: realuid.train("nowhere", "run"), "nowhere"),
    "train into a file": (lambda: realuid.train("digits", "empty.file"), "empty.file"),
    "train into pictures": (lambda: realuid.train("digits", "pictures"), "pictures"),
    "train on a list": (lambda: realuid.train([1], "run"), "data"),  # type: ignore[arg-type]
    "train by an unknown recipe": (lambda: realuid.train("digits", "run", recipe="dmo"), "demo"),
    "train on an unknown path": (lambda: realuid.train("digits", "run", path="lineal"), "linear"),
    "train with another config": (lambda: realuid.train("digits", "run", config={"lr": 1}), "config"),  # type: ignore[arg-type]
    "resume nothing": (lambda: realuid.train("digits", "nowhere", resume=True), "nothing to resume"),
    "no updates": (lambda: realuid.TeacherConfig(updates=0), "updates = 0"),
    "updates NaN": (lambda: realuid.TeacherConfig(updates=math.nan), "updates"),  # type: ignore[arg-type]
    "updates of 26 digits": (lambda: realuid.TeacherConfig(updates=10**26), "updates"),
    "lr as text": (lambda: realuid.TeacherConfig(lr="fast"), "lr"),  # type: ignore[arg-type]
    "lr NaN": (lambda: realuid.TeacherConfig(lr=math.nan), "lr = nan"),
    "alpha NaN": (lambda: realuid.DistillConfig(alpha=math.nan), "alpha = nan"),
    "alpha 0": (lambda: realuid.DistillConfig(alpha=0.0), "alpha = 0"),
    "beta infinite": (lambda: realuid.DistillConfig(beta=math.inf), "beta = inf"),
    "unknown objective": (lambda: realuid.DistillConfig(objective="uid2"), "objective"),  # type: ignore[arg-type]
    "no channels": (lambda: realuid.NetworkConfig(channels=()), "channels"),
    "channels as text": (lambda: realuid.NetworkConfig(channels=("a",)), "channels"),  # type: ignore[arg-type]
    "unknown setting of a path": (lambda: PathConfig("vp", {"beta": 1}), "beta"),
    "distil nothing": (lambda: realuid.distill("nowhere", "digits", out="run"), "nowhere"),
    "distil a generator": (lambda: realuid.distill("gen", "digits", out="run"), "not a teacher"),
    "distil a student in memory": (lambda: realuid.distill(student(), "digits", out="run"), "teacher"),  # type: ignore[arg-type]
    "distil on other data": (lambda: realuid.distill(teacher(), pictures(shape=(3, 8, 8)), out="run"), "shape"),
    "distil with alpha 2": (lambda: realuid.distill(teacher(), pictures(), alpha=2.0, out="run"), "alpha = 2"),
    "distil from something": (lambda: realuid.distill(teacher(), pictures(), start=3, out="run"), "start"),  # type: ignore[arg-type]
    "distil with another fake": (
        lambda: realuid.distill(teacher(), pictures(400), fake=small_teacher((3, 8, 8)), out="run", trust_teacher=True),
        "fake",
    ),
    # measuring and export
    "evaluate on other data": (lambda: realuid.evaluate(student(), pictures(shape=(3, 8, 8))), "shape"),
    "evaluate on nothing": (lambda: realuid.evaluate(student(), "nowhere"), "nowhere"),
    "evaluate no samples": (lambda: EvaluateConfig(samples=0), "samples = 0"),
    "evaluate by unknown features": (lambda: EvaluateConfig(extractor="resnet"), "resnet"),  # type: ignore[arg-type]
    "evaluate few images": (lambda: realuid.evaluate(student(), pictures(1)), "1 image"),
    "evaluate something": (lambda: realuid.evaluate(3, pictures()), "model"),  # type: ignore[arg-type]
    "evaluate with settings of another kind": (
        lambda: realuid.evaluate(student(), pictures(), {"samples": 8}),  # type: ignore[arg-type]
        "config",
    ),
    "check a generator": (lambda: realuid.check_teacher(student(), pictures()), "MatchingModel"),  # type: ignore[arg-type]
    "check on other data": (lambda: realuid.check_teacher(teacher(), pictures(shape=(3, 8, 8))), "shape"),
    "check on no images": (lambda: realuid.check_teacher(teacher(), pictures(), images=0), "images = 0"),
    "export nothing": (lambda: realuid.export("nowhere", "o.safetensors", "safetensors"), "nowhere"),
    "export to an unknown format": (lambda: realuid.export(student(), "o.onnx", "onx"), "onnx"),  # type: ignore[arg-type]
    "export with another ending": (lambda: realuid.export(student(), "o.txt", "safetensors"), ".safetensors"),
    "export a teacher": (lambda: realuid.export(teacher(), "o.safetensors", "safetensors"), "Student"),  # type: ignore[arg-type]
    "export over pictures": (lambda: realuid.export(student(), "pictures", "diffusers"), "pictures"),
    "export of more than is": (lambda: realuid.export("empty.file", "o.safetensors", "safetensors"), "empty.file"),
}
