"""Data written to a folder with latents and embedded prompts, each computed once; an interrupted one goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from realuid.data import Dataset, to_float
from realuid.data.arrow_table import Table, TornError
from realuid.data.arrow_writer import PLAIN, Encoding, Progress, write_into
from realuid.data.columns import Column, hashed
from realuid.data.dataset import NOWHERE, Origin
from realuid.errors import ConfigError, RealUIDError
from realuid.files import LOCK, write_json
from realuid.locks import held
from realuid.models import Codec
from realuid.models.prompts import PromptEncoder
from realuid.on_data.latents import codec_fingerprint
from realuid.on_data.prompts import encode_prompts
from realuid.room import is_full, no_space
from realuid.seeds import stream

#: Images that noise is drawn for at a time, and pixels that an autoencoder is given at a time, at most.
_BATCH, _PIXELS = 32, 32 * 256 * 256
#: What is being done, in a folder that is not finished.
_PLAN = "plan.json"


def encoding_of(
    codec: Codec | None = None,
    codec_source: str = "",
    encoder: PromptEncoder | None = None,
    prompts: Sequence[str] = (),
    device: torch.device | str = "cpu",
) -> Encoding:
    """What `prepare` computes of data.

    Args:
        codec: encodes the images; a Gaussian posterior is drawn from, with a fixed seed.
        codec_source: where the codec is.
        encoder: of the captions and of further prompts.
        prompts: without images, for generated samples.
        device: of the codec.

    Raises:
        ConfigError: for prompts without an encoder.
    """
    if encoder is None and prompts:
        raise ConfigError(f"{len(prompts)} prompts, but no encoder. Pass --teacher or --prompt-encoder.")

    def latents(images: Tensor, first: int) -> Tensor:
        assert codec is not None
        noise = stream(0, "latents", first, device=device)
        most = max(1, _PIXELS // images[0, 0].numel())
        parts = [codec.encode(to_float(part.to(device)), noise, most).float().cpu() for part in images.split(_BATCH)]
        return torch.cat(parts)

    return Encoding(
        latents=None if codec is None else latents,
        latents_from=NOWHERE if codec is None else Origin(codec_source, codec_fingerprint(codec)),
        prompts=None if encoder is None else lambda some: encode_prompts(some, encoder),
        prompts_from=NOWHERE if encoder is None else Origin(encoder.source, encoder.fingerprint),
        nulls=None if encoder is None else encoder.null(),
        listed=tuple(prompts),
    )


def prepare(
    data: Dataset, out: Path, encoding: Encoding = PLAIN, progress: Progress = lambda what, done, total: None
) -> None:
    """Write data to a folder that `load_dataset` reads by row.

    It is written to OUT.unfinished first. Rows that are there when it is killed, interrupted or fails are kept, and the
    same call goes on from them, to the same bits; an error before the first of them leaves nothing.

    Args:
        data: whose rows may be read when they are asked for (`load_dataset(..., by_row=True)`).
        out: a new folder.
        encoding: what is computed of it.
        progress: is told how far it is.

    Raises:
        ConfigError: where `out` is there already, or OUT.unfinished is of other data or settings.
        DataError: for images that cannot be read, captions that are missing, or an OUT.unfinished that was damaged.
        StorageError: where the disk is full.
    """
    work = out.with_name(f"{out.name}.unfinished")
    if out.exists():
        raise ConfigError(f"'{out}' is there already. Pass a new folder.")
    if work.exists() and not (work / _PLAN).is_file() and any(p.name != LOCK for p in work.iterdir()):
        raise ConfigError(f"'{work}' is in the way. Move it, or pass another folder.")
    plan = _plan(data, encoding)
    with held(work):
        begun = json.loads((work / _PLAN).read_text()) if (work / _PLAN).is_file() else {}
        if others := " and ".join(name for name in plan if begun.get(name, plan[name]) != plan[name]):
            raise ConfigError(
                f"'{work}' was begun with another {others}. Go on with the same command, or delete that folder."
            )
        try:
            write_json(work / _PLAN, plan)
            write_into(work, data, encoding, progress)
        except TornError:
            raise
        except Exception as error:
            known = no_space(out) if is_full(error, out.parent) else error
            if not Table.holds_rows(work):
                shutil.rmtree(work, ignore_errors=True)
            elif isinstance(known, RealUIDError):
                known = type(known)(
                    f"{known} What has been prepared is kept in '{work}': the same command goes on; for other data or "
                    "settings, delete that folder."
                )
            if known is error:
                raise
            raise known from error
        work.rename(out)
        for name in (_PLAN, LOCK):  # last, so that the same call goes on where a folder cannot be renamed
            (out / name).unlink(missing_ok=True)


def _plan(data: Dataset, encoding: Encoding) -> dict[str, str]:
    """What determines the bits of the result."""
    captions = [caption for part in data.sizes for caption in part.captions]
    read = [column for part in data.sizes for column in (part.values, part.sources) if isinstance(column, Column)]
    texts = {"captions": captions, "prompts": encoding.listed}
    digests = {name: hashlib.sha256(json.dumps(list(text)).encode()).hexdigest() for name, text in texts.items()}
    return {
        "data": data.fingerprint(pairs=True),
        "state of the image files": hashed(*(column.version for column in read)),
        **digests,
        "autoencoder": encoding.latents_from.fingerprint,
        "prompt encoder": encoding.prompts_from.fingerprint,
    }
