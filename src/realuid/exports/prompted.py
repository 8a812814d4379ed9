"""Export of a text-to-image student as the pipeline of its teacher's class.

The denoiser has the student's weights, the scheduler makes the student's calls, and all other parts are those of the
teacher's folder. What reads the result back calls the pipeline itself.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from realuid.errors import CheckpointError, ExportError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.prompted_denoiser import SWITCHED, denoiser_of, in_float32
from realuid.exports.templates import copy_template
from realuid.exports.templates.calls import CallsScheduler
from realuid.exports.times import is_own, scheduler_for
from realuid.loaders.diffusers_folder import INDEX, SCHEDULER
from realuid.loaders.formats import base_and_adapter, local_path
from realuid.models import Condition, Student
from realuid.models.networks.interfaces.base import packed, unpacked
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.prompts import POOLED, TEXT, TEXT_MASK
from realuid.models.saving.diffusers_weights import only_variant, quiet_diffusers, read_diffusers_config

#: Pipelines that call their denoiser with a null condition, too, unless their guidance scale is 1. Of Stable Diffusion
#: and SDXL the denoiser says that it needs none (see `_without_guidance`); FLUX and Qwen-Image do so only with a
#: negative prompt.
_GUIDED = ("sd3", "pixart", "sana", "wan")
#: Pipelines that round a size to one of their published ones.
_ROUNDED = ("pixart", "sana")
#: Arguments of pipelines for conditions, where they are not `prompt_embeds`, `prompt_attention_mask` and
#: `pooled_prompt_embeds`.
_ARGUMENTS = {"qwen_image": {TEXT_MASK: "prompt_embeds_mask"}}
#: Pipelines whose latents are tokens, and that tell their scheduler evenly spaced noise levels.
_PACKED = ("flux", "qwen_image")
#: Files of weights of a variant: in one file, and the index of several.
_VARIANT = re.compile(r"([\w-]+)\.(\w+)\.(safetensors|bin)")
_VARIANT_INDEX = re.compile(r"([\w-]+\.(?:safetensors|bin)\.index)\.(\w+)\.json")


def is_prompted(student: Student) -> bool:
    """Whether a student is the denoiser of a text-to-image pipeline."""
    return isinstance(student.model.network, PromptNetwork)


def check_known(student: Student) -> None:
    """Raise ExportError for a pipeline whose call was recorded: how it samples is not known."""
    if student.model.network.settings["pipeline"] == "recorded":
        raise ExportError(
            "the teacher's pipeline is none of those that are known here; how it calls its denoiser was recorded, and "
            "its scheduler was not. Export to onnx, torch or safetensors."
        )


def adapter_call(student: Student) -> dict[str, Any]:
    """What the teacher's pipeline has to be called with when it has a student's adapter, where it is no default:
    guidance scale, and height and width.
    """
    network = student.model.network
    assert isinstance(network, PromptNetwork)
    scale = network.numbers.get(
        "embedded_guidance", 1.0 if network.settings["pipeline"] in (*_GUIDED, *SWITCHED) else None
    )
    kind: Any = getattr(diffusers, network.interface.pipelines[0])
    default = inspect.signature(kind.__call__).parameters["guidance_scale"].default
    guidance = {} if scale in (None, default) else {"guidance_scale": scale}
    if network.shape[1:] == network.interface.shape(network.settings["denoiser"])[1:]:
        return guidance
    height, width = student.image_shape[-2:]
    return {**guidance, "height": height, "width": width}


def pipeline_defaults(student: Student) -> dict[str, Any]:
    """What its pipeline is called with unless told otherwise, where the class of the teacher's has other defaults."""
    network = student.model.network
    assert isinstance(network, PromptNetwork)
    name = network.settings["pipeline"]
    defaults: dict[str, Any] = {"guidance_scale": 1.0} if name in _GUIDED else {}
    if name not in SWITCHED and student.shape != network.interface.shape(network.settings["denoiser"]):
        *frames, height, width = student.image_shape[1:]
        defaults |= {"height": height, "width": width, **({"num_frames": frames[0]} if frames else {})}
        defaults |= {"use_resolution_binning": False} if name in _ROUNDED else {}
    return defaults


def needs_code(student: Student, whole: bool = True) -> str | None:
    """Why code comes with an exported folder, or None where all of it is of diffusers' classes.

    Args:
        student: of a text-to-image pipeline.
        whole: whether a pipeline is exported, or an adapter with a scheduler.
    """
    reasons = []
    if whole and (defaults := pipeline_defaults(student)):
        reasons.append(f"its pipeline has other defaults ({', '.join(f'{n} = {v}' for n, v in defaults.items())})")
    if is_own(scheduler_of(student)):
        calls = f"{student.calls} call{'s' * (student.calls > 1)}"
        reasons.append(f"no scheduler of diffusers makes its {calls} at their times")
    return ", and ".join(reasons) or None


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
            _name_plainly(out / name)
    denoiser_of(network).save_pretrained(out / own)
    scheduler.save_pretrained(out / "scheduler")
    if is_own(scheduler):
        copy_template("calls.py", out / "scheduler" / "calls.py")
        index["scheduler"] = ["calls", CallsScheduler.__name__]
    else:
        index["scheduler"] = ["diffusers", type(scheduler).__name__]
    if defaults := pipeline_defaults(student):
        changed = {"StableDiffusion3Pipeline": str(index["_class_name"]), '{"guidance_scale": 1.0}': repr(defaults)}
        copy_template("student.py", out / "student.py", changed)
        index["_class_name"] = ["student", "StudentPipeline"]
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


def adapter_of_teacher(student: Student) -> str:
    """The adapter of a teacher that was given as BASE+ADAPTER; '' for others."""
    return base_and_adapter(str(student.about.get("teacher", "")))[1]


def half_of(student: Student) -> str:
    """The precision of the student's weights if it is a half one, float16 or bfloat16; else ''."""
    network = student.model.network
    assert isinstance(network, PromptNetwork)
    kept = str(network.denoiser.dtype).removeprefix("torch.")
    return "" if kept == "float32" else kept


def variant_of_teacher(student: Student) -> str:
    """The variant that the weights of the teacher's pipeline are of, such as fp16; '' where they have no such name."""
    network = student.model.network
    assert isinstance(network, PromptNetwork)
    return only_variant(teacher_folder(student) / network.interface.folder)


def _linked(source: str, to: str) -> None:
    """A file under another name, without a copy where the file system can."""
    try:
        os.link(Path(source).resolve(), to)
    except OSError:
        shutil.copy2(source, to)


def _name_plainly(folder: Path) -> None:
    """Give weights that are there in one variant only, such as fp16, the names that are read by default."""
    for pattern, plain in ((_VARIANT, r"\1.\3"), (_VARIANT_INDEX, r"\1.json")):
        found = [path for path in folder.iterdir() if pattern.fullmatch(path.name) and "-of-" not in path.name]
        one = len({pattern.sub(r"\2", path.name) for path in found}) == 1
        for path in found:
            name = folder / pattern.sub(plain, path.name)
            if one and not name.exists():
                path.rename(name)


class PromptedPipeline:
    """An exported pipeline without its text encoders, which conditions replace.

    Args:
        folder: that `write_prompted` wrote; none of the code in it runs, so its defaults are passed.
        student: whose network says how the pipeline is called.
    """

    def __init__(self, folder: Path, student: Student):
        network = student.model.network
        assert isinstance(network, PromptNetwork)
        self.interface, self.name = network.interface, network.settings["pipeline"]
        self.shape, self.calls, self.settings = student.shape, student.calls, pipeline_defaults(student)
        index = {n: v for n, v in read_diffusers_config(folder / INDEX).items() if not n.startswith("_")}
        parts: dict[str, Any] = {name: None for name, value in index.items() if isinstance(value, list)}
        with quiet_diffusers():
            for name in (self.interface.folder, "vae"):
                parts[name] = getattr(diffusers, index[name][1]).from_pretrained(folder / name)
            library, kind = index["scheduler"]
            scheduler: Any = CallsScheduler if library == "calls" else getattr(diffusers, kind)
            parts["scheduler"] = scheduler.from_config(read_diffusers_config(folder / "scheduler" / SCHEDULER))
            settings = {n: v for n, v in index.items() if n not in parts}
            kind = read_diffusers_config(teacher_folder(student) / INDEX)["_class_name"]
            self.pipeline: Any = getattr(diffusers, str(kind))(**parts, **settings)
        self.pipeline.set_progress_bar_config(disable=True)

    @torch.no_grad()
    def __call__(self, z: Tensor, condition: Condition, seed: int) -> tuple[Tensor, Tensor]:
        """Latents, and the noise of later calls that torch's own random numbers of a seed gave, (b, calls - 1, *d)."""
        names = {TEXT: "prompt_embeds", TEXT_MASK: "prompt_attention_mask", POOLED: "pooled_prompt_embeds"}
        names |= _ARGUMENTS.get(self.name, {})
        given: dict[str, Any] = {names[name]: value for name, value in condition.items()}
        latents = packed(z) if self.name in _PACKED else z
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

    def _as_ours(self, latents: Tensor) -> Tensor:
        return unpacked(latents, self.shape) if self.name in _PACKED else latents

    @torch.no_grad()
    def difference(self, student: Student, contract: Contract) -> float:
        """Largest difference of its latents from the student's, relative to the largest number if that exceeds 1.

        Both compute in float32, whatever the precision of the weights.
        """
        worst, precise = 0.0, in_float32(student)
        for batch in (1, 2):
            z, condition, _ = contract.draw(batch, seed=batch)
            theirs, eps = self(z, condition, seed=batch)
            ours = precise(z, condition, eps)
            off = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1))
            worst = max(worst, off if theirs.isfinite().all() else float("inf"))
        return worst
