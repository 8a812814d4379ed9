"""Export of a student that was trained as an adapter: LoRA files, with the scheduler that makes its calls.

`pytorch_lora_weights.safetensors` has diffusers' names of keys, which ComfyUI reads, too; of U-Nets `kohya.safetensors`
has those of kohya's scripts. Reading back loads the file into the teacher's denoiser.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor

from realuid.errors import ExportError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.prompted import adapter_of_teacher, scheduler_of, teacher_folder
from realuid.exports.templates import copy_template
from realuid.exports.times import is_own
from realuid.loaders.diffusers_folder import INDEX
from realuid.loaders.lora import merge_adapter
from realuid.models import Condition, Network, Student
from realuid.models.networks.adapters import AdapterSettings, SharedBase
from realuid.models.networks.merged import Merged
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.saving.diffusers_weights import load_diffusers_model, quiet_diffusers, read_diffusers_config

#: Names of the files: diffusers' own, and one with kohya's names of keys.
WEIGHTS, KOHYA = "pytorch_lora_weights.safetensors", "kohya.safetensors"
#: Largest difference, relative to the largest output, between a student whose merged weights are rounded (to 4 bits at
#: worst) and its adapter on the teacher. With the wrong teacher it is about 1.
_NEAR = 0.3


def write_lora(student: Student, out: Path, contract: Contract) -> None:
    """Fill an existing, empty folder with the adapter of a student and its scheduler.

    Raises:
        ExportError: for a student that was not trained as an adapter of a text-to-image pipeline, or one whose pipeline
            reads no LoRA files.
    """
    network, merged, scheduler = *_adapted(student), scheduler_of(student)
    index = read_diffusers_config(teacher_folder(student) / INDEX)
    pipeline: Any = getattr(diffusers, str(index["_class_name"]))
    part = network.interface.folder
    if not hasattr(pipeline, "save_lora_weights"):
        raise ExportError(f"diffusers' {pipeline.__name__} reads no LoRA files. Export to diffusers instead.")
    weights = _of_denoiser(merged)
    settings = LoraConfig(
        r=merged.rank,
        lora_alpha=merged.alpha,  # type: ignore[arg-type]  # any number does
        target_modules=[_inside(layer) for layer in merged.layers],
        use_dora=merged.dora,
    )
    layers: dict[str, Any] = {f"{part}_lora_layers": weights, f"{part}_lora_adapter_metadata": settings.to_dict()}
    pipeline.save_lora_weights(out, **layers)
    if part == "unet" and not merged.dora:
        save_file(_kohya(weights, merged), out / KOHYA)
    scheduler.save_pretrained(out / "scheduler")
    if is_own(scheduler):
        copy_template("calls.py", out / "scheduler" / "calls.py")
    (out / ABOUT).write_text(contract.to_json())


def _adapted(student: Student) -> tuple[PromptNetwork, Merged]:
    network = student.model.network
    if not isinstance(network, PromptNetwork) or network.merged is None:
        raise ExportError(
            "the student was not trained as an adapter of a text-to-image pipeline (--lora-rank), so there is no LoRA "
            "to write. Export to diffusers, onnx, torch or safetensors."
        )
    return network, network.merged


def _inside(name: str) -> str:
    """A name within the denoiser."""
    return name.removeprefix("denoiser.")


def _of_denoiser(merged: Merged) -> dict[str, Tensor]:
    return {_inside(name): value for name, value in merged.weights.items()}


def _kohya(weights: dict[str, Tensor], merged: Merged) -> dict[str, Tensor]:
    found = convert_state_dict_to_kohya({f"unet.{name}": value for name, value in weights.items()})
    alpha = torch.tensor(float(merged.alpha))
    return {n: alpha.clone() if n.endswith(".alpha") else v.contiguous() for n, v in found.items()}


@torch.no_grad()
def lora_difference(folder: Path, student: Student, contract: Contract) -> float:
    """Largest difference between the written adapter, read by diffusers, and the trained one, on the teacher's weights.

    The student's own weights have the adapter merged, and are rounded to their precision (to 4 bits before that, if the
    base was). In float32 their difference counts as well; in lower precision only if it is too large for rounding.
    """
    network, merged = _adapted(student)
    draws = [contract.draw(batch, seed=batch)[:2] for batch in (1, 2)]
    own = _answers(network, draws)
    with _on_teacher(network, student):
        denoiser: Any = network.denoiser
        with quiet_diffusers():
            denoiser.load_lora_adapter(str(folder), weight_name=WEIGHTS, prefix=network.interface.folder)
        written = _answers(network, draws)
        denoiser.unload_lora()
        settings = AdapterSettings(merged.rank, merged.alpha, tuple(merged.layers), merged.dora)
        role = SharedBase(network).role("student", settings, seed=0)
        role.load_state_dict(merged.weights)
        for parameter in role.parameters():  # diffusers loads adapters in the precision of what they change
            parameter.data = parameter.data.to(denoiser.dtype)
        trained = _answers(role, draws)
        exact = denoiser.dtype == torch.float32
    off = _largest(own, written)
    near = exact or off <= _NEAR * float(written[0].abs().max())
    return max(_largest(written, trained), off if exact or not near else 0.0)


def _answers(network: Network, draws: Sequence[tuple[Tensor, Condition]]) -> list[Tensor]:
    return [network(z, torch.full((len(z),), 500.0), condition) for z, condition in draws]


def _largest(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


@contextmanager
def _on_teacher(network: PromptNetwork, student: Student) -> Iterator[None]:
    """The network with the teacher's denoiser, with the adapter of a teacher BASE+ADAPTER merged."""
    kind: Any = getattr(diffusers, network.interface.denoiser)
    own, folder = network.denoiser, teacher_folder(student) / network.interface.folder
    try:
        with quiet_diffusers():
            network.denoiser = load_diffusers_model(kind, folder, keep_precision=True).to(own.dtype)
        if adapter := adapter_of_teacher(student):
            merge_adapter(network, adapter)
        yield
    finally:
        network.denoiser = own
