"""Memory that runs out, in whoever's words: batches are made in smaller parts, or it is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import small_teacher

import realuid as library
from realuid.errors import OutOfMemoryError, OutOfMemoryWarning
from realuid.memory import InParts, is_out_of_memory
from realuid.models import Generator, save_pretrained
from realuid.sampling import generate

#: As torch, oneDNN, C++, cuBLAS, cuDNN and ONNX Runtime say it.
WORDS = [
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried ..."
    ),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried ..."),
    RuntimeError("could not create a primitive"),
    RuntimeError("could not create a primitive descriptor for a convolution forward propagation primitive"),
    RuntimeError("could not create a memory object"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError(
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input."
    ),
    RuntimeError("MPS backend out of memory (MPS allocated: 18.13 GB)"),
    RuntimeError("unable to mmap 512 bytes from file <x>: Cannot allocate memory (12)"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    MemoryError(),
    Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 1"),
]


@pytest.fixture(autouse=True)
def no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is collected between attempts, which takes a second in a process of tests."""
    monkeypatch.setattr("accelerate.utils.memory.clear_device_cache", lambda **_: None)


@pytest.mark.parametrize("error", WORDS, ids=str)
def test_it_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OutOfMemoryError("the networks do not fit into memory (CUDA out of memory)"),
        KeyboardInterrupt("out of memory"),
        ValueError(),
    ],
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


class Small(Generator):
    """A generator on a device with room for so many samples, which fails in given words."""

    room, error, asked = 3, WORDS[2], list[int]()

    def forward(self, z, *others):
        self.asked.append(len(z))
        if len(z) > self.room:
            raise self.error
        return super().forward(z, *others)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Small:
    torch.manual_seed(0)
    model = Small(small_teacher(num_classes=3)).eval()
    monkeypatch.setattr(Small, "asked", [])
    return model


@pytest.mark.parametrize("error", [WORDS[2], WORDS[-2]], ids=str)
def test_samples_are_made_in_smaller_parts_and_stay_the_same(error: Exception, small, monkeypatch) -> None:
    labels = [i % 3 for i in range(17)]
    monkeypatch.setattr(Small, "room", 100)
    whole = torch.cat(list(generate(small, 17, labels=labels, batch=11)))
    monkeypatch.setattr(Small, "room", 3)
    monkeypatch.setattr(Small, "error", error)
    small.asked.clear()
    with pytest.warns(OutOfMemoryWarning, match=r"out of memory, so 3 are made at a time from now on"):
        batches = list(generate(small, 17, labels=labels, batch=11))
    assert [len(batch) for batch in batches] == [11, 6]
    assert small.asked == [11, 6, 3, 3, 3, 2, 3, 3]
    assert torch.allclose(torch.cat(batches), whole, atol=1e-6)


def test_a_teacher_with_noise_on_its_way_makes_the_same_samples_in_parts(monkeypatch) -> None:
    torch.manual_seed(0)
    teacher = small_teacher()
    whole = torch.cat(list(generate(teacher, 7, steps=3, sampler="sde", batch=7)))
    estimate = type(teacher).estimate

    def fails(self, x, *others):
        if len(x) > 2:
            raise MemoryError
        return estimate(self, x, *others)

    monkeypatch.setattr(type(teacher), "estimate", fails)
    with pytest.warns(OutOfMemoryWarning):
        parts = torch.cat(list(generate(teacher, 7, steps=3, sampler="sde", batch=7)))
    assert torch.allclose(parts, whole, atol=1e-5)


def test_one_sample_that_does_not_fit_is_one_line(small, monkeypatch) -> None:
    monkeypatch.setattr(Small, "room", 0)
    with (
        pytest.warns(OutOfMemoryWarning),
        pytest.raises(OutOfMemoryError, match=r"not even one at a time fits into memory \(could not create"),
    ):
        library.sample(small, 5, labels=[0, 1, 2, 0, 1])


def test_errors_of_another_kind_pass() -> None:
    def work(samples: range) -> list[torch.Tensor]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        InParts(work, "samples")(range(3))


def test_the_command_line_says_it_in_one_line(tmp_path: Path, realuid, monkeypatch) -> None:
    save_pretrained(Generator(small_teacher()), tmp_path / "g")

    def fail(*_, **__) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000000 bytes.")

    monkeypatch.setattr("realuid.data.writers.write_samples", fail)
    code, said = realuid("sample", tmp_path / "g", "--out", tmp_path / "x.zip")
    assert code == 2 and said.startswith("realuid: error: out of memory (DefaultCPUAllocator"), said


# -- numbers that nobody can mean ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--count", 10**12), "count = 1000000000000: allowed are whole numbers from 1 to 100,000,000"),
        (("--count", 10**20), "count = 100000000000000000000: allowed"),
        (("--batch", 10**12), "batch = 1000000000000: allowed"),
        (("--steps", 10**12), "steps = 1000000000000: allowed"),
        (("--seed", -1), "seed = -1: allowed"),
        (("--guidance", "nan"), "guidance = nan: must be a finite number"),
        (("--guidance", "inf"), "guidance = inf: must be a finite number"),
        (("--sampler", "sde:nan"), "sampler 'sde:nan': the multiple of the diffusion must be a number"),
    ],
)
def test_numbers_of_sampling(words, message: str, tmp_path: Path, realuid) -> None:
    save_pretrained(small_teacher(num_classes=2), tmp_path / "t")
    code, said = realuid("sample", tmp_path / "t", "--count", 3, *words, "--out", tmp_path / "x.zip")
    assert code == 2 and message in said, said
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "--updates", "1" + "0" * 25), "updates = 1" + "0" * 25 + ": must be at least 1 and at most"),
        (("train", "--lr", "nan"), "lr = nan is no finite number"),
        (("train", "--clip", "nan"), "clip = nan is no finite number"),
        (("train", "--batch", 10**12), "batch = 1000000000000: must be at least 1 and at most"),
        (("train", "--ema", "nan"), "ema = nan is no finite number"),
        (("train", "--path.settings.t_min", "nan"), "t_min"),
        (("distill", "--alpha", "nan"), "alpha = nan is no finite number"),
        (("distill", "--beta", "inf"), "beta = inf is no finite number"),
        (("distill", "--quick-samples", 10**12), "quick_samples = 1000000000000: must be at least 2 and at most"),
        (("demo", "--evaluate.guidance", "nan"), "guidance = nan is no finite number"),
        (("demo", "--evaluate.samples", 10**12), "samples = 1000000000000: must be at least 5 and at most"),
        (("sweep", "--alpha", "nan"), "alpha = nan is no finite number"),
        (("train", "--updates", "9" * 5000), "updates"),
    ],
)
def test_numbers_of_runs(words, message: str, moons: Path, tmp_path: Path, realuid) -> None:
    command, *options = words
    code, said = realuid(command, moons, *options, "--out", tmp_path / "run")
    assert code == 2 and message in said, said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "3", None, float("nan"), 10**9])
def test_numbers_of_functions(count) -> None:
    with pytest.raises(library.errors.ConfigError, match=f"count = {count}: allowed are whole numbers from 1"):
        library.sample(Generator(small_teacher()), count)


# -- names with a NUL, paths as Path objects -----------------------------------------------------------------------


def test_names_with_a_nul_are_refused(tmp_path: Path) -> None:
    bad, model = f"{tmp_path}/a\0b", Generator(small_teacher())
    for call in (
        lambda: library.train("toy:moons", bad),
        lambda: library.load_dataset(bad),
        lambda: library.load_model(bad),
        lambda: save_pretrained(model, bad),
        lambda: library.export(model, bad + ".safetensors", "safetensors"),
        lambda: library.export(model, bad, "diffusers"),
    ):
        with pytest.raises(library.errors.RealUIDError, match=r"NUL|no model at"):
            call()
    assert not list(tmp_path.iterdir())


def test_data_in_a_path_object(tmp_path: Path) -> None:
    from PIL import Image

    for i in range(8):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    assert len(library.load_dataset(tmp_path)) == 8
    network = library.NetworkConfig(channels=(8, 8), blocks=1, attention_at=())
    config = library.TeacherConfig(updates=1, batch=2, device="cpu")
    library.train(tmp_path, tmp_path.parent / "run", network=network, config=config)
    assert str(tmp_path) in (tmp_path.parent / "run" / "recipe.yaml").read_text()
    with pytest.raises(library.errors.DataError, match="the source of data is a ndarray"):
        library.load_dataset(torch.zeros(3).numpy())  # type: ignore[arg-type]


# -- a student that a recipe does not have -------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["distill", "sweep"])
def test_an_unknown_student_after_the_colon(command: str, realuid) -> None:
    code, said = realuid(command, "demo:real-dat", "--teacher", "x", "--dry-run")
    assert code == 2 and "'real-dat'. Did you mean 'real-data'?" in said
