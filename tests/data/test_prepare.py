"""Prepared data: latents and prompts computed once, exactly, to the same bits after any interruption."""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from captioned import metadata, png, zipped
from diffusers import AutoencoderKL

from realuid.cli.main import main
from realuid.data import Dataset, load_dataset
from realuid.data.arrow_writer import write_arrow
from realuid.errors import ConfigError, DataError, StorageError
from realuid.loaders.words import Words
from realuid.models import Codec, Condition, MatchingModel, NetworkConfig, build_network
from realuid.on_data import adopt_null, conditions, encode_dataset, read_conditions
from realuid.on_data.latents import codec_fingerprint
from realuid.on_data.prepare import encoding_of, prepare
from realuid.paths import LinearPath
from realuid.recipes import Recipe
from realuid.recipes.run import new_teacher
from realuid.training import TeacherConfig, train_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.batches import Batches
from realuid.training.compatibility import check_fits
from realuid.training.teacher import TeacherTask

COUNT = 2100  # of three batches
PROMPTS = ("a lone prompt", "number 3 of five", "a lone prompt")


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Images with captions of one to five words, many of them equal."""
    g = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (COUNT, 1, 8, 8), generator=g, dtype=torch.uint8)
    captions = [" ".join(["number", str(i % 7), "of", "five", "x"][: 1 + i % 5]) for i in range(COUNT)]
    return Dataset(values, torch.arange(COUNT) % 3, "drawn", tuple("abc"), captions=captions)


def codec(seed: int = 0) -> Codec:
    torch.manual_seed(seed)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    small = {"block_out_channels": (4, 4), "norm_num_groups": 2, "latent_channels": 2, "layers_per_block": 1}
    return Codec(AutoencoderKL(in_channels=1, out_channels=1, **small, **kinds))


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    prepare(data, out, encoding_of(codec(), "vae", Words(), PROMPTS))
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_image_has_its_latents_and_the_embeddings_of_its_caption(data, folder) -> None:
    read, encoder, index = load_dataset(folder), Words(), torch.tensor([2050, 3, 999, 1000, 3])
    assert torch.equal(read.values[index], data.values[index]) and torch.equal(read.labels, data.labels)
    assert list(read.captions) == list(data.captions) and read.classes == data.classes
    text, mask = read.columns["text"][index], read.columns["text_mask"][index].bool()
    for i, row in enumerate(index.tolist()):
        right = encoder.encode([data.captions[row]])
        assert torch.equal(text[i][mask[i]], right["text"][0]) and not text[i][~mask[i]].any()
    assert torch.equal(read.nulls["text"], encoder.null()["text"])
    latents = encode_dataset(read, codec())
    posterior = codec().autoencoder.encode(data.values[index].float() / 127.5 - 1).latent_dist
    scale = codec().scale
    assert latents.shape == (2, 4, 4) and latents.values.dtype == torch.float32
    assert (((latents.values[index] / scale - posterior.mean) / posterior.std).abs() < 6).all()
    assert not torch.equal(latents.values[:4], latents.values[4:8])
    assert len(read.columns["text"].column) == len({*data.captions, *PROMPTS}) == 30


def test_an_interrupted_one_goes_on_to_the_same_bits(data, folder, tmp_path) -> None:
    class Stop(BaseException):
        pass

    stops = iter([("prompts", 0), ("samples", 0), ("samples", 1000), ("samples", COUNT)])

    def progress(what: str, done: int, total: int) -> None:
        nonlocal stop
        if (what, done) == stop:
            stop = next(stops, None)
            raise Stop

    stop, tries, work = next(stops), 0, tmp_path / "again.unfinished"
    while not (tmp_path / "again").exists():
        tries += 1
        try:
            prepare(data, tmp_path / "again", encoding_of(codec(), "vae", Words(), PROMPTS), progress)
        except Stop:
            assert work.is_dir()
            for progress_of in work.rglob("progress.json"):  # as a kill in the midst of writing leaves it
                (table,) = progress_of.parent.glob("*.arrow")
                table.write_bytes(table.read_bytes() + b"torn")
    assert tries == 5 and files(tmp_path / "again") == files(folder) and not work.exists()


@pytest.mark.slow  # a process of its own
def test_the_command_goes_on_in_a_new_process(tmp_path, capsys) -> None:
    """`datasets` registers the kinds of columns when it is imported, and files that are opened before have others."""
    source, asked = captioned(tmp_path, *["one", "two"] * 600), ["--prompt-encoder", "words", "--device", "cpu"]
    assert main(["prepare", str(source), str(tmp_path / "whole"), *asked]) == 0

    def progress(what: str, done: int, total: int) -> None:
        if (what, done) == ("samples", 1000):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(load_dataset(source, by_row=True), tmp_path / "again", encoding_of(encoder=Words()), progress)
    begun = json.loads((tmp_path / "again.unfinished" / "progress.json").read_text())
    words = [sys.executable, "-m", "realuid", "prepare", str(source), str(tmp_path / "again"), *asked]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert begun["rows"] == 1000 and done.returncode == 0, done.stderr
    assert files(tmp_path / "again") == files(tmp_path / "whole")


def test_an_unexpected_error_does_not_take_what_was_written(data, folder, tmp_path) -> None:
    def progress(what: str, done: int, total: int) -> None:
        if (what, done) == ("samples", 1000):
            raise TypeError("of a library")

    encoding = encoding_of(codec(), "vae", Words(), PROMPTS)
    with pytest.raises(TypeError, match="of a library"):
        prepare(data, tmp_path / "again", encoding, progress)
    assert json.loads((tmp_path / "again.unfinished" / "progress.json").read_text())["rows"] == 1000
    prepare(data, tmp_path / "again", encoding)
    assert files(tmp_path / "again") == files(folder)


def test_a_full_disk_keeps_what_was_written(data, folder, tmp_path) -> None:
    """Writing beyond a size fails as on a full disk (EFBIG in place of ENOSPC): in the second batch, then the third."""
    encoding = encoding_of(codec(), "vae", Words(), PROMPTS)
    largest = (folder / "data-00000-of-00001.arrow").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for share, rows in ((0.6, 1000), (0.96, 2000)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * largest), before[1]))
        try:
            with pytest.raises(
                StorageError, match=r"no space left.* is kept in '.*again.unfinished': the same command"
            ):
                prepare(data, tmp_path / "again", encoding)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert json.loads((tmp_path / "again.unfinished" / "progress.json").read_text())["rows"] == rows
    prepare(data, tmp_path / "again", encoding)
    assert files(tmp_path / "again") == files(folder)


def test_only_the_same_command_goes_on(data, tmp_path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(data, tmp_path / "d", encoding_of(encoder=Words()), stop)
    with pytest.raises(ConfigError, match=r"d.unfinished' was begun with another prompts and autoencoder. Go on with"):
        prepare(data, tmp_path / "d", encoding_of(codec(), "vae", Words(), PROMPTS))
    (tmp_path / "e.unfinished").mkdir()
    (tmp_path / "e.unfinished" / "mine").write_text("")
    with pytest.raises(ConfigError, match=r"e.unfinished' is in the way"):
        prepare(data, tmp_path / "e")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"captions": ["a"] * 5 + [None] + ["b"] * (COUNT - 6)},
            "1 of 2100 samples of 'drawn', the first of them number 5",
        ),
        ({"captions": ()}, "'drawn' has no captions"),
        ({"captions": ["a"] * (COUNT - 1) + ["word " * 90]}, "has 90 words: the encoder reads at most 76"),
    ],
    ids=["missing", "none", "too long"],
)
def test_captions_that_cannot_be_encoded_leave_nothing_behind(data, changes, says, tmp_path) -> None:
    with pytest.raises((DataError, ConfigError), match=says):
        prepare(dataclasses.replace(data, **changes), tmp_path / "d", encoding_of(encoder=Words()))
    assert list(tmp_path.iterdir()) == []


def model(**network) -> MatchingModel:
    return MatchingModel(build_network(NetworkConfig(channels=(8, 8), blocks=1), **network), LinearPath())


def test_generated_samples_are_of_the_prompts_that_are_listed(folder) -> None:
    read = load_dataset(folder)
    assert list(read.prompts.captions) == list(PROMPTS[:2]) and len(read.prompts) == 2
    specs = model(shape=(1, 8, 8), text=64).conditions
    batches, encoder = Batches(read, LinearPath(), seed=0, conditions=specs), Words()
    shown = batches.generated("generator", 0, 8).condition
    seen = [text[mask] for text, mask in zip(shown["text"], shown["text_mask"], strict=True)]
    right = [encoder.encode([prompt])["text"][0] for prompt in PROMPTS[:2]]
    assert all(any(torch.equal(one, other) for other in right) for one in seen)
    assert sum(torch.equal(one, right[0]) for one in seen if len(one) == len(right[0])) == 4
    real = batches.real("teacher", 0, 8)
    together = batches.generated("generator", 0, 8, with_real=True)
    for draw in (real, together):  # with real samples come their own captions
        rows = [int((read.values[:].float() / 127.5 - 1 == x).flatten(1).all(1).nonzero()[0]) for x in draw.x_0]
        assert torch.equal(draw.condition["text"], read_conditions(specs, read, torch.tensor(rows))["text"])


def test_data_of_another_autoencoder_or_encoder_of_prompts_is_refused(data, folder) -> None:
    read = load_dataset(folder)
    with pytest.raises(ConfigError, match=r"latents of 'drawn' are those of another autoencoder \('vae'\)"):
        encode_dataset(read, codec(1))
    reading = model(shape=(1, 8, 8), text=64)
    reading.prompts = "words"
    check_fits(reading, read)
    other = dataclasses.replace(read, text_from=read.text_from._replace(fingerprint="other", source="elsewhere"))
    with pytest.raises(
        ConfigError, match="prompts of 'drawn' were embedded by 'elsewhere', the model reads those of 'wo"
    ):
        check_fits(reading, other)
    with pytest.raises(DataError, match=r"'drawn' holds prompts without samples. Name the prompt encoder"):
        write_arrow(read, folder.parent / "x")


def test_teachers_are_trained_on_the_latents_that_were_prepared(data, tmp_path) -> None:
    codec().save(tmp_path / "vae")
    write_arrow(data.subset(slice(32)), tmp_path / "images")
    asked = ["--autoencoder", str(tmp_path / "vae"), "--prompt-encoder", "words"]
    assert main(["prepare", str(tmp_path / "images"), str(tmp_path / "d"), *asked]) == 0
    read = load_dataset(tmp_path / "d")
    config = TeacherConfig(updates=1, batch=8, label_dropout=0.5, device="cpu", sample_every=0)
    recipe = Recipe(network=NetworkConfig(channels=(8, 8), blocks=1), teacher=config)
    teacher = new_teacher(recipe, read)
    assert teacher.shape == (2, 4, 4) and teacher.image_shape == read.shape and teacher.prompts == "words"
    task = TeacherTask(teacher, read, config, make_accelerator(config))
    adopt_null(teacher, read)
    drawn = task.batches.real("teacher", 0, 8).x_0
    latents = read.columns["latent"][:]
    assert all(any(torch.equal(x, latent) for latent in latents) for x in drawn)
    trained = train_teacher(teacher, read, config, tmp_path / "run")
    assert codec_fingerprint(trained.codec) == read.latents_from.fingerprint
    with pytest.raises(ConfigError, match="flip = True: the data is encoded once"):
        train_teacher(teacher, read, dataclasses.replace(config, flip=True), tmp_path / "other")
    with pytest.raises(ConfigError, match="latents of 'drawn' are those of another autoencoder"):
        codec(1).save(tmp_path / "vae")
        new_teacher(recipe, read)


def captioned(tmp_path: Path, *captions: str | None) -> Path:
    images = {f"{i}.png": png(i % 256) for i in range(len(captions))}
    return zipped(tmp_path, {**images, "metadata.jsonl": metadata(*images, captions=list(captions))})


def test_the_command(tmp_path, capsys) -> None:
    source, out = captioned(tmp_path, "one", "two", "one"), tmp_path / "out"
    (tmp_path / "prompts.txt").write_text("three\n\n two \n")
    asked = ["--prompt-encoder", "words", "--prompts", str(tmp_path / "prompts.txt"), "--resolution", "2"]
    assert main(["prepare", str(source), str(out), *asked]) == 0
    assert "Dataset 'd': 3 images of shape (3, 2, 2)" in capsys.readouterr().out
    read = load_dataset(out)
    assert list(read.captions) == ["one", "two", "one"] and list(read.prompts.captions) == ["three", "two"]
    given = conditions(model(shape=(3, 2, 2), text=64), read, 3)
    assert isinstance(given, Condition) and torch.equal(given["text"][0], given["text"][2])
    again = tmp_path / "again"
    assert main(["prepare", str(out), str(again), "--prompt-encoder", "words"]) == 0  # the captions are still there
    assert load_dataset(again).prompts is None and list(load_dataset(again).captions) == ["one", "two", "one"]


def wrong_commands(tmp_path: Path) -> Iterator[tuple[list[str], str]]:
    source, out = str(captioned(tmp_path, "one", None)), str(tmp_path / "out")
    yield ["prepare", source, out, "--prompt-encoder", "words"], "1 of 2 samples of 'd', the first of them number 1"
    yield ["prepare", source, out, "--prompt-encoder", "wordz"], "words"
    (tmp_path / "p.txt").write_text("\n")
    yield ["prepare", source, out, "--prompts", str(tmp_path / "p.txt")], "p.txt' holds no prompts"
    (tmp_path / "p.txt").write_text("a")
    yield ["prepare", source, out, "--prompts", str(tmp_path / "p.txt")], "1 prompts, but no encoder"
    yield ["prepare", source, out, "--autoencoder", str(tmp_path)], "holds no autoencoder"
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    yield ["prepare", source, out, "--autoencoder", str(tmp_path)], "holds no autoencoder"


def test_mistakes_are_one_line_and_leave_nothing(tmp_path, capsys) -> None:
    for words, said in wrong_commands(tmp_path):
        before = {p.name for p in tmp_path.iterdir()}
        assert main(words) == 2, words
        err = capsys.readouterr().err
        assert said in " ".join(err.split()) and err.count("\n") == 1, err
        assert {p.name for p in tmp_path.iterdir()} == before
