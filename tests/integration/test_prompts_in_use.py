"""Prompts in use: sampling with them in Python and on the command line, and grids of fixed ones during training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import realuid
from realuid.cli.main import main
from realuid.data import grid_image, load_dataset
from realuid.errors import ConfigError
from realuid.loaders.prompts import prompt_condition
from realuid.loaders.words import Words
from realuid.models import Condition, MatchingModel, NetworkConfig, Student, VectorUNet, build_network, save_pretrained
from realuid.on_data.prompts import with_embeddings
from realuid.paths import LinearPath
from realuid.sampling import generate
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, train_teacher
from realuid.training.loop import SAMPLE_SEED

PROMPTS = ["a red seven on blue", "seven", "a red seven on blue and green"]
SMALL = NetworkConfig(channels=(8, 8), blocks=1, attention_at=(4,), head_channels=8)


def model(prompts: str = "words") -> MatchingModel:
    torch.manual_seed(0)
    made = MatchingModel(build_network(SMALL, (1, 8, 8), text=64), LinearPath()).eval()
    made.prompts = prompts
    return made


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    return save_pretrained(Student(model(), (0.9, 0.4)), tmp_path_factory.mktemp("s") / "student")


def by_hand(made: Student | MatchingModel, count: int, **how) -> torch.Tensor:
    """Samples of the prompts in turn, each encoded alone."""
    alone = [Words().encode([PROMPTS[i % 3]]) for i in range(count)]
    return torch.cat(list(generate(made, count, condition=Condition.cat(alone), seed=3, **how)))


def test_samples_show_the_prompts_in_turn(student) -> None:
    loaded = realuid.load_generator(student)
    assert loaded.model.prompts == "words"
    torch.testing.assert_close(realuid.sample(student, prompts=PROMPTS, seed=3), by_hand(loaded, 3))
    torch.testing.assert_close(realuid.sample(student, 5, prompts=PROMPTS, seed=3), by_hand(loaded, 5))
    first = realuid.sample(student, prompts=PROMPTS, seed=3, calls=1)
    torch.testing.assert_close(first, by_hand(loaded, 3, calls=1))
    anew = realuid.sample(model(""), prompts=PROMPTS, prompt_encoder="words", seed=3, guidance=2.0, steps=2)
    known = model()
    known.network.null = Words().null()
    torch.testing.assert_close(anew, by_hand(known, 3, guidance=2.0, steps=2))


def test_the_command_makes_a_column_for_every_prompt(student, tmp_path, capsys) -> None:
    lines, out = tmp_path / "prompts.txt", tmp_path / "grid.png"
    lines.write_text("\n".join(PROMPTS))
    asked = ["sample", str(student), "--calls", "2", "--seed", "3", "--device", "cpu"]
    assert main([*asked, "--prompts", str(lines), "--out", str(out), "--count", "6"]) == 0
    pixels = np.asarray(Image.open(out))
    assert main([*asked, "--prompts", *PROMPTS, "--out", str(tmp_path / "o.png"), "--count", "6"]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), pixels)
    assert np.array_equal(np.asarray(grid_image(by_hand(realuid.load_generator(student), 6), 3)), pixels)
    assert main([*asked, "--prompts", *PROMPTS, "--out", str(out)]) == 0 and "63 images" in capsys.readouterr().out


def test_any_other_condition_comes_from_a_file(tmp_path) -> None:
    unet = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": [8], "norm_num_groups": 4}
    kinds = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "add_attention": False}
    place = save_pretrained(Student(MatchingModel(VectorUNet(3, **unet, **kinds), LinearPath())), tmp_path / "v")
    save_file({"vector": torch.eye(3)}, tmp_path / "c.safetensors")
    asked = ["sample", str(place), "--count", "3", "--condition", str(tmp_path / "c.safetensors")]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    shown = realuid.sample(place, 3, condition={"vector": torch.eye(3)})
    files = sorted((tmp_path / "out").rglob("*.png"))
    read = torch.stack([torch.from_numpy(np.asarray(Image.open(f)).copy()) for f in files])
    assert torch.equal(read, ((shown[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "the model reads prompts: pass --prompts"),
        (["--prompts", "word " * 80], "has 80 words: the encoder reads at most 76"),
        (["--prompts", "a", "--prompt-encoder", "wordz"], "unknown prompt encoder 'wordz'. Did you mean 'words'?"),
        (["--prompt-encoder", "words"], "--prompt-encoder words without --prompts has no effect"),
        (["--condition", "missing.safetensors"], "--condition missing.safetensors cannot be read"),
        (["--prompts", "a", "--count", "0"], "count = 0"),
    ],
)
def test_mistakes_are_one_line(student, words, says, tmp_path, capsys) -> None:
    assert main(["sample", str(student), "--out", str(tmp_path / "o.png"), *words]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_what_reads_no_prompts_says_so() -> None:
    plain = MatchingModel(build_network(SMALL, (1, 8, 8)), LinearPath())
    with pytest.raises(ConfigError, match="the model reads no prompts"):
        prompt_condition(plain, ["a"], 1)
    with pytest.raises(ConfigError, match="the model does not say how it reads them"):
        prompt_condition(model(""), ["a"], 1)
    with pytest.raises(ConfigError, match="prompts = 'a red seven': a list of texts is needed"):
        realuid.sample(model(), prompts="a red seven")


def test_grids_during_training_are_of_fixed_prompts_and_noise(tmp_path) -> None:
    digits = load_dataset("digits").subset(slice(16)).without_labels()
    data = with_embeddings(digits._with(captions=["seven"] * 8 + ["one"] * 8), Words())
    (tmp_path / "grid.txt").write_text("\n".join(PROMPTS))
    common = {"updates": 1, "batch": 4, "sample_every": 1, "device": "cpu", "grid_prompts": str(tmp_path / "grid.txt")}
    teacher = train_teacher(model(""), data, TeacherConfig(steps=2, ema=(0.0,), **common), tmp_path / "t")
    assert teacher.prompts == "words"
    config = DistillConfig(fake_updates=1, times=(0.9, 0.4), ema=(0.0,), **common)
    made = distill_teacher(teacher, data, config, tmp_path / "s")
    for run, sampled in (
        ("t", lambda given: generate(teacher, 63, condition=given, seed=SAMPLE_SEED, steps=2)),
        ("s", lambda given: generate(made, 63, condition=given, seed=SAMPLE_SEED)),
    ):
        (picture,) = (tmp_path / run / "samples").glob("*.png")
        shown = torch.cat(list(sampled(prompt_condition(teacher, PROMPTS, 63))))
        assert np.array_equal(np.asarray(grid_image(shown, 3)), np.asarray(Image.open(picture)))
