"""Export of a text-to-image student as the pipeline of its teacher's class.

The denoiser has the student's weights, the scheduler makes the student's calls, and all other parts are those of the
teacher's folder. What reads the result back calls the pipeline itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from realuid.errors import CheckpointError, ExportError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.templates import copy_template
from realuid.exports.templates.calls import CallsScheduler
from realuid.exports.times import is_own, scheduler_for
from realuid.loaders.diffusers_folder import INDEX, SCHEDULER
from realuid.loaders.formats import local_path
from realuid.models import Condition, Student
from realuid.models.networks.interfaces.base import packed, unpacked
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.prompts import POOLED, TEXT, TEXT_MASK
from realuid.models.saving.diffusers_weights import quiet_diffusers, read_diffusers_config
from realuid.models.saving.weights import apart

#: What a pipeline is called with so that it calls the denoiser without a null condition, where it is not by default.
#: Of Stable Diffusion and SDXL the denoiser says so itself (see `_without_guidance`); FLUX and Qwen-Image do so only
#: with a negative prompt.
UNGUIDED: dict[str, dict[str, float]] = {name: {"guidance_scale": 1.0} for name in ("sd3", "pixart", "sana", "wan")}
#: Pipelines whose denoiser may say that it needs no null condition.
_SWITCHED = ("stable_diffusion", "sdxl")
#: Arguments of pipelines for conditions, where they are not `prompt_embeds`, `prompt_attention_mask` and
#: `pooled_prompt_embeds`.
_ARGUMENTS = {"qwen_image": {TEXT_MASK: "prompt_embeds_mask"}}
#: Pipelines whose latents are tokens, and that tell their scheduler evenly spaced noise levels.
_PACKED = ("flux", "qwen_image")
#: Width of the embedding of a guidance scale, as diffusers' latent consistency models have it.
_SCALE_WIDTH = 256


def is_prompted(student: Student) -> bool:
    """Whether a student is the denoiser of a text-to-image pipeline."""
    return isinstance(student.model.network, PromptNetwork)


def call_settings(student: Student, whole: bool = True) -> dict[str, Any]:
    """What its pipeline has to be called with besides a prompt and the number of steps.

    Args:
        student: of any kind.
        whole: whether the pipeline has the denoiser that is exported, or the teacher's with an adapter.
    """
    network = student.model.network
    if not isinstance(network, PromptNetwork):
        return {}
    name = network.settings["pipeline"]
    settings: dict[str, Any] = dict(UNGUIDED.get(name, {}))
    if not whole and name in _SWITCHED:
        settings["guidance_scale"] = 1.0
    if "embedded_guidance" in network.numbers:
        settings["guidance_scale"] = network.numbers["embedded_guidance"]
    return settings


def needs_code(student: Student) -> str | None:
    """Why its scheduler comes with code of its own, or None where it is one of diffusers'."""
    if not is_own(scheduler_of(student)):
        return None
    return f"no scheduler of diffusers makes its {student.calls} call{'s' * (student.calls > 1)} at their times"


def scheduler_of(student: Student) -> Any:
    """The scheduler with which its pipeline makes its calls."""
    network = student.model.network
    assert isinstance(network, PromptNetwork)
    return scheduler_for(student, network.settings["pipeline"] in _PACKED)


def write_prompted(student: Student, out: Path, contract: Contract) -> None:
    """Fill an existing, empty folder with the pipeline of a student.

    Raises:
        ExportError: where the teacher's pipeline is not there, or cannot make the student's calls.
    """
    network, scheduler = student.model.network, scheduler_of(student)
    assert isinstance(network, PromptNetwork)
    source = teacher_folder(student)
    index, own = read_diffusers_config(source / INDEX), network.interface.folder
    for name, value in index.items():
        if isinstance(value, list) and name not in (own, "scheduler") and (source / name).is_dir():
            shutil.copytree(source / name, out / name, copy_function=_linked)
    _denoiser(network).save_pretrained(out / own)
    scheduler.save_pretrained(out / "scheduler")
    if is_own(scheduler):
        copy_template("calls.py", out / "scheduler" / "calls.py")
        index["scheduler"] = ["calls", CallsScheduler.__name__]
    else:
        index["scheduler"] = ["diffusers", type(scheduler).__name__]
    (out / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    (out / ABOUT).write_text(contract.to_json())


def teacher_folder(student: Student) -> Path:
    """The folder of the pipeline that the student's teacher came from."""
    source, folder = student.model.prompts, Path()
    with contextlib.suppress(CheckpointError):
        folder = local_path(source)
    if not source or not (folder / INDEX).is_file():
        raise ExportError(
            f"the other parts of the pipeline are copied from the teacher's, and '{source or 'nothing'}', from which "
            "the student's prompts are encoded, is no pipeline of diffusers. Export to onnx, torch or safetensors."
        )
    return folder


def _linked(source: str, to: str) -> None:
    """A file under another name, without a copy where the file system can."""
    try:
        os.link(Path(source).resolve(), to)
    except OSError:
        shutil.copy2(source, to)


def _denoiser(network: PromptNetwork) -> Any:
    """The denoiser as the pipeline's part."""
    if network.settings["pipeline"] not in _SWITCHED:
        return network.denoiser
    return _without_guidance(network)


def _without_guidance(network: PromptNetwork) -> Any:
    """A U-Net whose pipeline never asks for a null condition: one with an embedded guidance scale, of weight zero.

    The pipelines leave classifier-free guidance out for such networks (latent consistency models). Its size is that of
    the student's samples.
    """
    config = {
        **network.settings["denoiser"],
        "time_cond_proj_dim": _SCALE_WIDTH,
        "sample_size": list(network.shape[1:]),
    }
    if network.shape[1] == network.shape[2]:
        config["sample_size"] = network.shape[1]
    with quiet_diffusers():
        unet = diffusers.UNet2DConditionModel.from_config(config).to(dtype=network.denoiser.dtype)
    embedding = unet.time_embedding.cond_proj
    torch.nn.init.zeros_(embedding.weight)
    unet.load_state_dict({**apart(network.denoiser.state_dict()), "time_embedding.cond_proj.weight": embedding.weight})
    return unet


class PromptedPipeline:
    """An exported pipeline without its text encoders, which conditions replace.

    Args:
        folder: that `write_prompted` wrote; none of the code in it runs.
        student: whose network says how the pipeline is called.
    """

    def __init__(self, folder: Path, student: Student):
        network = student.model.network
        assert isinstance(network, PromptNetwork)
        self.interface, self.name = network.interface, network.settings["pipeline"]
        self.shape, self.settings, self.calls = student.shape, call_settings(student), student.calls
        index = read_diffusers_config(folder / INDEX)
        parts: dict[str, Any] = {name: None for name, value in index.items() if isinstance(value, list)}
        with quiet_diffusers():
            for name in (self.interface.folder, "vae"):
                parts[name] = getattr(diffusers, index[name][1]).from_pretrained(folder / name)
            library, kind = index["scheduler"]
            scheduler: Any = CallsScheduler if library == "calls" else getattr(diffusers, kind)
            parts["scheduler"] = scheduler.from_config(read_diffusers_config(folder / "scheduler" / SCHEDULER))
            settings = {n: v for n, v in index.items() if n not in parts and not n.startswith("_")}
            self.pipeline: Any = getattr(diffusers, index["_class_name"])(**parts, **settings)
        self.pipeline.set_progress_bar_config(disable=True)

    @torch.no_grad()
    def __call__(self, z: Tensor, condition: Condition, seed: int) -> tuple[Tensor, Tensor]:
        """Latents, and the noise of later calls that torch's own random numbers of a seed gave, (b, calls - 1, *d)."""
        names = {TEXT: "prompt_embeds", TEXT_MASK: "prompt_attention_mask", POOLED: "pooled_prompt_embeds"}
        names |= _ARGUMENTS.get(self.name, {})
        given: dict[str, Any] = {names[name]: value for name, value in condition.items()}
        latents = packed(z) if self.name in _PACKED else z
        if (size := self.pipeline_size) is not None:
            given |= size
        with torch.random.fork_rng(devices=[]), quiet_diffusers():
            torch.manual_seed(seed)
            found = self.pipeline(
                **given, latents=latents, num_inference_steps=self.calls, output_type="latent", **self.settings
            )
        random = torch.Generator().manual_seed(seed)
        noise = [torch.randn(latents.shape, generator=random) for _ in range(self.calls - 1)]
        made = found.frames if hasattr(found, "frames") else found.images
        return self._as_ours(made), torch.stack([self._as_ours(e) for e in noise], dim=1) if noise else z[:, None][
            :, :0
        ]

    @property
    def pipeline_size(self) -> dict[str, int] | None:
        """Height and width where the pipeline does not know those of the student's samples by default, and rounds them
        to published ones.
        """
        if self.name in _SWITCHED:
            return None
        factor = self.pipeline.vae_scale_factor if hasattr(self.pipeline, "vae_scale_factor") else 8
        height, width = (int(side * factor) for side in self.shape[-2:])
        rounded = {"use_resolution_binning": False} if self.name in ("pixart", "sana") else {}
        return {"height": height, "width": width, **rounded}

    def _as_ours(self, latents: Tensor) -> Tensor:
        return unpacked(latents, self.shape) if self.name in _PACKED else latents

    @torch.no_grad()
    def difference(self, student: Student, contract: Contract) -> float:
        """Largest difference of its latents from the student's, relative to the largest number if that exceeds 1."""
        worst = 0.0
        for batch in (1, 2):
            z, condition, _ = contract.draw(batch, seed=batch)
            theirs, eps = self(z, condition, seed=batch)
            ours = student(z, condition, eps)
            off = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1))
            worst = max(worst, off if theirs.isfinite().all() else float("inf"))
        return worst
