"""What `prepare` has written outlives errors, and is what it goes on from, or is refused."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from captioned import folder, png, tarred, zipped
from diffusers import AutoencoderKL
from PIL import Image

from realuid.data import Dataset, load_dataset
from realuid.data.arrow_table import Table
from realuid.errors import ConfigError, DataError, DataWarning, OutOfMemoryWarning
from realuid.models import Codec
from realuid.on_data.prepare import encoding_of, prepare
from realuid.seeds import stream


def at(row: int, act: Callable[[], object]) -> Callable[[str, int, int], None]:
    """A progress that acts when a row is reached."""
    return lambda what, done, total: act() if (what, done) == ("samples", row) else None


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch) -> Path:
    """25 images, of three batches."""
    monkeypatch.setattr("realuid.data.arrow_writer._ROWS", 10)
    return folder(tmp_path / "pictures", {f"{i:02d}.png": png(i) for i in range(25)})


def bitmap(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (level,) * 3).save(buffer, "BMP")
    return buffer.getvalue()


def values(out: Path) -> list[int]:
    return load_dataset(out).values[:][:, 0, 0, 0].tolist()


def test_images_that_are_gone_for_a_while_cost_nothing_that_was_prepared(pictures, tmp_path) -> None:
    out, work, away = tmp_path / "out", tmp_path / "out.unfinished", tmp_path / "away"
    data = load_dataset(pictures, by_row=True)
    for row, kept in ((0, False), (10, True)):
        with pytest.raises(DataError, match=r"\.png") as error:
            prepare(data, out, progress=at(row, lambda: pictures.rename(away)))
        away.rename(pictures)
        assert work.exists() == kept
        assert (f"is kept in '{work}': the same command goes on;" in str(error.value)) == kept
    begun = []
    prepare(data, out, progress=lambda what, done, total: begun.append(done))
    assert begun[0] >= 10 and not work.exists() and values(out) == list(range(25))


def test_skipping_damaged_images_does_not_skip_those_that_are_gone_for_a_while(pictures, tmp_path) -> None:
    out, away = tmp_path / "out", tmp_path / "away"
    (pictures / "03.png").write_bytes(b"damaged")
    data = load_dataset(pictures, by_row=True, skip_damaged=True)
    with pytest.raises(DataError, match=r"are no longer there: .*Bring them back"):
        prepare(data, out, progress=at(10, lambda: pictures.rename(away)))
    away.rename(pictures)
    with pytest.warns(DataWarning, match=r"1 of 25 images are left out, as unreadable"):
        prepare(data, out)
    assert values(out) == [i for i in range(25) if i != 3]


def stop() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("share", [0, 0.6, 0.999], ids=["empty", "half", "nearly whole"])
@pytest.mark.parametrize("filled", [False, True], ids=["short", "zeros"])
def test_rows_that_are_no_longer_there_are_missed(pictures, tmp_path, share, filled) -> None:
    """As a disk, or a copy that was cut short, leaves them; zeros end a stream of Arrow."""
    data, out = load_dataset(pictures, by_row=True), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare(data, out, progress=at(20, stop))
    file = tmp_path / "out.unfinished" / "data-00000-of-00001.arrow"
    size = file.stat().st_size
    os.truncate(file, int(share * size))
    os.truncate(file, size if filled else int(share * size))
    said = r"written: \d+ of 20 rows can be read. Delete '.*out.unfinished', and"
    with pytest.raises(DataError, match=said) as error:
        prepare(data, out)
    assert "goes on" not in str(error.value) and file.is_file() and not out.exists()


def test_the_count_is_checked_at_the_end(pictures, tmp_path) -> None:
    data, out = load_dataset(pictures, by_row=True), tmp_path / "out"
    file = tmp_path / "out.unfinished" / "data-00000-of-00001.arrow"
    with pytest.raises(DataError, match="written: 10 of 25 rows can be read"):
        prepare(data, out, progress=at(20, lambda: os.truncate(file, file.stat().st_size * 6 // 10)))
    assert not out.exists()


def test_what_is_finished_is_not_done_again(pictures, tmp_path, monkeypatch) -> None:
    """A kill before the folder has got its name, and a name that it cannot be given at once."""
    data, out = load_dataset(pictures, by_row=True), tmp_path / "out"
    prepare(data, tmp_path / "whole")
    finish = Table.finish

    def killed(table: Table, about: object) -> None:
        finish(table, about)
        stop()

    def refused(folder: Path, to: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patches:
        patches.setattr(Table, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(data, out)
    with monkeypatch.context() as patches:
        patches.setattr(Path, "rename", refused)
        with pytest.raises(OSError, match="Input/output"):
            prepare(data, out, progress=lambda what, done, total: stop())
    prepare(data, out, progress=lambda what, done, total: stop())
    read = {p.name: p.read_bytes() for p in out.iterdir()}
    assert read == {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()}
    assert not (tmp_path / "out.unfinished").exists()


@pytest.mark.parametrize("pack", [folder, zipped, tarred])
def test_images_that_were_corrected_are_not_mixed_with_the_former_ones(tmp_path, monkeypatch, pack) -> None:
    """Bitmaps of one size have as many bytes, whatever they show."""
    monkeypatch.setattr("realuid.data.arrow_writer._ROWS", 2)
    out, source = tmp_path / "out", tmp_path / "data"

    def written(level: int, time: int) -> Dataset:
        images = {f"{i}.bmp": bitmap(level) for i in range(3)}
        source.mkdir(exist_ok=True)
        place = pack(source, images)
        if pack is tarred:
            with tarfile.open(place, "w") as archive:
                for name, content in images.items():
                    info = tarfile.TarInfo(name)
                    info.size, info.mtime = len(content), time
                    archive.addfile(info, io.BytesIO(content))
        for path in source.glob("*"):
            os.utime(path, (time, time))
        return load_dataset(place, by_row=True)

    with pytest.raises(KeyboardInterrupt):
        prepare(former := written(7, 10), out, progress=at(2, stop))
    corrected = written(77, 11)
    assert corrected.fingerprint() == former.fingerprint()  # runs resume with a copy of their images
    with pytest.raises(ConfigError, match=r"begun with another state of the image files\. Go on with the same command"):
        prepare(corrected, out)
    plan = tmp_path / "out.unfinished" / "plan.json"
    known = {name: value for name, value in json.loads(plan.read_text()).items() if "files" not in name}
    plan.write_text(json.dumps(known))  # as it was before that was noted
    prepare(written(7, 10), out)
    assert values(out) == [7, 7, 7]


def test_large_images_are_encoded_a_few_at_a_time_with_the_same_noise(monkeypatch) -> None:
    images = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model, noise = Codec(AutoencoderKL(1, 1, block_out_channels=(4,), norm_num_groups=2)), stream(0, "latents", 7)
    with torch.no_grad():
        posteriors = [model.autoencoder.encode(part / 127.5 - 1).latent_dist for part in images.split(32)]
    whole = torch.cat([posterior.sample(noise) for posterior in posteriors]) * model.scale
    latents = encoding_of(model, "vae").latents
    assert torch.equal(latents(images, 7), whole)  # 32 at a time, as ever
    encode, given = model.autoencoder.encode, []

    def limited(part: torch.Tensor) -> object:
        given.append(len(part))
        if len(part) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(part)

    monkeypatch.setattr(model.autoencoder, "encode", limited)
    monkeypatch.setattr("realuid.memory.free_memory", lambda: None)  # slow
    monkeypatch.setattr("realuid.on_data.prepare._PIXELS", 20 * 8 * 8)
    with pytest.warns(OutOfMemoryWarning, match="latents: out of memory, so 5 are made at a time"):
        found = latents(images, 7)
    assert given == [20, 10, *[5] * 6, 2, 5, 3] and (found - whole).abs().max() < 1e-5
