"""Images of several aspect ratios: sizes by a rule, the nearest ratio, centred crops, one folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from captioned import zipped
from PIL import Image

from realuid.cli.main import main
from realuid.data import Dataset, load_dataset
from realuid.data.arrow_writer import write_arrow
from realuid.data.buckets import bucket_sizes, bucket_step, in_buckets
from realuid.errors import ConfigError, DataError
from realuid.loaders.words import Words
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.on_data import adopt_size
from realuid.on_data.prepare import encoding_of, prepare
from realuid.paths import LinearPath

#: Heights and widths of images, and the sizes that they have at resolution 16 in steps of 4.
SHAPES = [(20, 20), (30, 20), (16, 16), (8, 64), (40, 42), (33, 20), (24, 24)]
BUCKETS = [(16, 16), (20, 12), (16, 16), (12, 20), (16, 16), (20, 12), (16, 16)]


def encoded(height: int, width: int, number: int, turned: bool = False) -> bytes:
    pixels = np.random.default_rng(number).integers(256, size=(height, width, 3), dtype=np.uint8)
    image, buffer, exif = Image.fromarray(pixels), io.BytesIO(), Image.Exif()
    if turned:
        image, exif[0x0112] = image.rotate(90, expand=True), 6
    image.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of them is stored turned by its EXIF data."""
    files = {f"{i}.png": encoded(*shape, i, turned=i == 1) for i, shape in enumerate(SHAPES)}
    rows = [{"file_name": name, "text": f"number {name[0]}"} for name in files]
    lines = "\n".join(map(json.dumps, rows)).encode()
    return zipped(tmp_path_factory.mktemp("photos"), {**files, "metadata.jsonl": lines})


def fitted(number: int, height: int, width: int) -> torch.Tensor:
    """The largest centred part of the proportions, resized, with whole pixels cut off."""
    image = Image.open(io.BytesIO(encoded(*SHAPES[number], number)))
    scale = min(image.width / width, image.height / height)
    across, down = round(width * scale), round(height * scale)
    left, top = (image.width - across) // 2, (image.height - down) // 2
    image = image.crop((left, top, left + across, top + down)).resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def test_sizes_follow_from_resolution_and_step() -> None:
    assert bucket_sizes(512, 64) == [(384, 640), (448, 576), (512, 512), (576, 448), (640, 384)]
    found = bucket_sizes(1024, 64)
    assert (832, 1216) in found and (1216, 832) in found and (704, 1408) not in found
    for height, width in found:  # the next larger one would exceed the area
        short, long = sorted((height, width))
        assert short % 64 == long % 64 == 0 and short * long <= 1024**2 < short * (long + 64) and long <= 2 * short
    assert bucket_sizes(16, 4) == [(12, 20), (16, 16), (20, 12)]
    assert [bucket_step(n) for n in (1024, 512, 256, 64, 96)] == [64, 64, 32, 8, 8]
    assert bucket_step(64, factor=16) == 16
    with pytest.raises(DataError, match="buckets of resolution 100 in steps of 64: the resolution has to be"):
        bucket_sizes(100, 64)


def test_every_image_goes_to_the_nearest_ratio_and_is_cropped_around_its_centre(photos: Path) -> None:
    data = in_buckets(load_dataset(photos, by_row=True), 16, 4)
    assert [part.shape[1:] for part in data.sizes] == [(16, 16), (20, 12), (12, 20)]
    assert [len(part) for part in data.sizes] == [4, 2, 1]
    for part in data.sizes:
        numbers = [int(caption[-1]) for caption in part.captions]
        assert numbers == [i for i, bucket in enumerate(BUCKETS) if bucket == part.shape[1:]]
        for row, number in enumerate(numbers):
            assert torch.equal(part.values[torch.tensor([row])][0], fitted(number, *part.shape[1:]))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_prepared_folder_holds_all_sizes_and_goes_on_to_the_same_bits(photos: Path, tmp_path: Path) -> None:
    encoding = encoding_of(encoder=Words(), prompts=("a lone prompt of many words",))
    longest = Words().encode(["a lone prompt of many words"])["text"].shape[1]
    prepare(in_buckets(load_dataset(photos, by_row=True), 16, 4), tmp_path / "out", encoding)
    data = load_dataset(tmp_path / "out")
    assert "4 images of shape (3, 16, 16), 2 of (3, 20, 12), 1 of (3, 12, 20)" in repr(data)
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir()) == ["12x20", "16x16", "20x12", "prompts"]
    for part in data.sizes:
        for row, caption in enumerate(part.captions):
            index = torch.tensor([row])
            assert torch.equal(part.values[index][0], fitted(int(caption[-1]), *part.shape[1:]))
            text, mask = part.columns["text"][index][0], part.columns["text_mask"][index][0].bool()
            assert torch.equal(text[mask], Words().encode([caption])["text"][0])
            assert len(text) == longest  # of the longest prompt: samples of all sizes fit into one batch with prompts
        assert list(part.prompts.captions) == ["a lone prompt of many words"] and "text" in part.nulls
    assert data.fingerprint() != data.fingerprint(pairs=True) != data.sizes[0].fingerprint(pairs=True)

    class Stop(BaseException):
        pass

    stops = iter([("prompts", 0), ("samples of 20x12", 0), ("samples of 20x12", 2), ("samples of 12x20", 0)])
    stop, tries = next(stops), 0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal stop
        if (what, done) == stop:
            stop = next(stops, None)
            raise Stop

    while not (tmp_path / "again").exists():
        tries += 1
        try:
            again = in_buckets(load_dataset(photos, by_row=True), 16, 4)
            prepare(again, tmp_path / "again", encoding, progress)
        except Stop:
            pass
    assert tries == 5 and files(tmp_path / "again") == files(tmp_path / "out")


def test_images_in_a_table_of_hugging_face_have_sizes_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": encoded(*shape, i), "path": None} for i, shape in enumerate(SHAPES)]}
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    data = in_buckets(load_dataset(tmp_path / "saved", by_row=True), 16, 4)
    assert [len(part) for part in data.sizes] == [4, 2, 1]
    assert torch.equal(data.others[0].values[:][1], fitted(5, 20, 12))
    assert not load_dataset(tmp_path / "saved", resolution=16).others


def test_labels_keep_their_classes_and_parts_are_of_one_size(tmp_path: Path) -> None:
    for i, shape in enumerate(SHAPES):
        path = tmp_path / "images" / "ab"[i > 1] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(*shape, i))
    data = in_buckets(load_dataset(tmp_path / "images", by_row=True), 16, 4)
    write_arrow(data, tmp_path / "out")
    read = load_dataset(tmp_path / "out")
    assert [part.labels.tolist() for part in read.sizes] == [[0, 1, 1, 1], [0, 1], [1]]
    assert all(part.classes == ("a", "b") for part in read.sizes)
    assert not read.subset(slice(0, 2)).others and not read.without_labels().others[0].classes


def test_what_cannot_be_is_said(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="holds no image files of different sizes: leave --buckets out"):
        in_buckets(Dataset(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)), 16, 4)
    with pytest.raises(DataError, match="holds pairs, which have to be of one size"):
        in_buckets(load_dataset(photos, resolution=16, pairs="grey", by_row=True), 16, 4)
    out = ["prepare", str(photos), str(tmp_path / "out"), "--buckets"]
    for words, said in [
        ([], "buckets need the side of a square of their area. Pass --resolution."),
        (
            ["--resolution", "16", "--bucket-step", "0"],
            "bucket_step = 0: allowed are positive numbers, with --buckets.",
        ),
        (["--resolution", "16", "--bucket-step", "6"], "buckets of resolution 16 in steps of 6"),
    ]:
        assert main([*out, *words]) == 2
        assert said in capsys.readouterr().err.replace("\n", " ")
    assert main([*out, "--resolution", "16", "--bucket-step", "4"]) == 0
    data = load_dataset(tmp_path / "out")
    with pytest.raises(DataError, match=r"pairs = grey: .* holds images in several sizes. Prepare it without"):
        load_dataset(tmp_path / "out", pairs="grey")
    network = build_network(NetworkConfig(channels=(8, 8), blocks=1), (3, 16, 16))
    with pytest.raises(ConfigError, match=r"holds images in 3 sizes, and the model makes one. Take a text-to-image"):
        adopt_size(MatchingModel(network, LinearPath()), data)
    (tmp_path / "out" / "sizes.json").write_text('{"sizes": ["../16x16"]}')
    with pytest.raises(DataError, match=r"names no folders of sizes such as 512x768. Write it again"):
        load_dataset(tmp_path / "out")
