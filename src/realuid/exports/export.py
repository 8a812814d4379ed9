"""Export of a student: write it in another format, read it back, and keep the file only if it matches the student."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from realuid.data import Dataset
from realuid.errors import ConfigError, ExportError, unknown_name
from realuid.exports.card import Card, model_card
from realuid.exports.contract import Contract
from realuid.exports.diffusers import needs_own_code
from realuid.exports.formats import ENDINGS, FORMATS, check_out, is_export
from realuid.exports.hub import push_to_hub as upload
from realuid.exports.options import ExportOptions, FormatName, Graph, Precision
from realuid.exports.prompted import (
    PromptedPipeline,
    adapter_call,
    adapter_of_teacher,
    check_known,
    half_of,
    is_prompted,
    needs_code,
    scheduler_of,
    variant_of_teacher,
)
from realuid.exports.read import load_student
from realuid.exports.space import space_card
from realuid.exports.student import ExportedStudent
from realuid.files import atomic_file, atomic_folder, write_checksums
from realuid.metrics import Evaluator
from realuid.models import Student
from realuid.recipes import EvaluateConfig
from realuid.recipes.evaluate import evaluate_model, make_evaluator
from realuid.sampling import OneStep
from realuid.settings import check_kind
from realuid.text import names_only
from realuid.training.compatibility import check_fits

#: How far an exported image may be from ours, in data units (half of [-1, 1]).
TOLERANCE = 1e-4
_HALF_LEVEL = 1 / 255


@dataclass(frozen=True)
class Export:
    """The result of an export.

    Attributes:
        path: of the file or folder.
        difference: largest difference from the generator's images, in data units, beyond rounding where uint8.
        figures: measurement of the generator, where data was given.
        figures_exported: measurement of the exported file, where its precision is reduced.
        own_code: why a diffusers folder comes with code of its own, or None.
        address: of the upload, where there was one.
    """

    path: Path
    difference: float
    figures: dict[str, Any] | None = None
    figures_exported: dict[str, Any] | None = None
    own_code: str | None = None
    address: str | None = None


def export_student(
    generator: Student | str | Path,
    out: str | Path,
    to: FormatName,
    options: ExportOptions | None = None,
    *,
    data: Dataset | None = None,
    evaluate: EvaluateConfig | None = None,
    push_to_hub: str = "",
    private: bool = False,
) -> Export:
    """Write a student in another format, all of it or nothing, and put it on the Hub if asked to.

    Args:
        generator: a generator, or where one is; of a run folder, the averaged weights.
        out: file, or folder (diffusers); what realuid exported is replaced, nothing else.
        to: a name in `FORMATS`.
        options: see `ExportOptions`.
        data: measure the generator against it for the card, and a reduced precision beside it.
        evaluate: how that is measured.
        push_to_hub: owner/name of a repository that gets the folder (diffusers).
        private: of a repository that is created.

    Raises:
        ExportError: where the format has no room for the model, the written file computes something else, or the upload
            fails (then the folder stays).
        ConfigError: for an unknown format, options or an ending that do not fit it, or an `out` that is there and is
            the generator, or was not written by realuid.
    """
    check_kind("generator", generator, str, Path, Student)
    check_kind("options", options, ExportOptions, type(None))
    options, out = options or ExportOptions(), Path(out)
    _check_request(to, options, out, push_to_hub)
    check_out(to, out, generator)
    generator = _on_cpu(generator) if isinstance(generator, Student) else load_student(generator)
    if generator.calls > 1 and to == "authors":
        raise ExportError(
            f"the student makes {generator.calls} calls, and the authors' scripts make one. Use another format."
        )
    about = names_only(generator.about)
    evaluate = evaluate or EvaluateConfig()
    evaluator = None if data is None else _evaluator(generator, data, evaluate)
    if evaluator is not None:
        about["measurement"] = _measure(generator, evaluator, evaluate)
    contract = _contract(generator, to, options, about)
    own_code = _own_code(generator, to)
    form, reduced = FORMATS[to], None
    with atomic_folder(out, ours=is_export) if form.folder else atomic_file(out) as temporary:
        form.write(generator, temporary, contract, options)
        difference = _difference_of(generator, to, temporary, contract)
        _check_difference(difference, to, options.precision)
        if form.folder:
            card = Card(out.name, push_to_hub or str(out), options.licence)
            (temporary / "README.md").write_text(_card(generator, to, card, contract, own_code))
            write_checksums(temporary)
        if evaluator is not None and options.precision != "fp32":
            reduced = _measure(form.read(temporary), evaluator, evaluate)
    address = upload(out, push_to_hub, private) if push_to_hub else None
    return Export(out, difference, about.get("measurement"), reduced, own_code, address)


def _own_code(student: Student, to: str) -> str | None:
    """Why an exported folder comes with code, or None."""
    if to in ("diffusers", "lora") and is_prompted(student):
        check_known(student)
    if to == "lora":
        return needs_code(student, whole=False) if is_prompted(student) else None
    return needs_own_code(student) if to == "diffusers" else None


def _card(student: Student, to: str, card: Card, contract: Contract, own_code: str | None) -> str:
    """The text of README.md."""
    if to == "space":
        return space_card(card, contract, student)
    call: dict[str, Any] = {}
    if is_prompted(student):
        card = dataclasses.replace(card, scheduler=type(scheduler_of(student)).__name__, half=half_of(student))
    if to == "lora":
        base, variant = student.model.prompts, variant_of_teacher(student)
        card = dataclasses.replace(card, base=base, variant=variant, adapter=adapter_of_teacher(student))
        call = adapter_call(student)
    return model_card(contract, card, own_code, call)


def _difference_of(generator: Student, to: str, written: Path, contract: Contract) -> float:
    """How far what was written is from the student, when it is read back; of a text-to-image pipeline in latents."""
    if to == "diffusers" and is_prompted(generator):
        return PromptedPipeline(written, generator).difference(generator, contract)
    if to == "lora":
        from realuid.exports.lora import lora_difference

        return lora_difference(written, generator, contract)
    return compare(generator, FORMATS[to].read(written), contract)


def _contract(generator: Student, to: str, options: ExportOptions, about: dict[str, Any]) -> Contract:
    """What the file takes and makes, or an error where its format has no room for a decoder."""
    graph: Graph = "call" if to in ("diffusers", "lora") and generator.calls > 1 else options.graph
    contract = Contract.of(generator, options.uint8, graph, **about)
    if not contract.decodes and to not in ("diffusers", "lora"):
        raise ExportError(
            f"one call of a student on latents makes latents, which the {ENDINGS[to]} file could not decode. Export to "
            "diffusers, or all calls as one graph (--graph whole)."
        )
    return contract


def _on_cpu(generator: Student) -> Student:
    """A copy: the user's own is left where it is."""
    return copy.deepcopy(generator).cpu().eval()


def _check_request(to: str, options: ExportOptions, out: Path, push_to_hub: str) -> None:
    """Refuse what cannot be done before anything is."""
    if to not in FORMATS:
        raise ConfigError(unknown_name("format", to, FORMATS))
    options.check(to)
    if push_to_hub and to not in ("diffusers", "lora"):
        raise ConfigError(f"push_to_hub = {push_to_hub}: only for diffusers and lora, not for {to}.")
    if to in ENDINGS and out.suffix != ENDINGS[to]:
        raise ConfigError(f"--to {to} writes a {ENDINGS[to]} file, but the output is called '{out}'.")


@torch.no_grad()
def compare(generator: Student, student: Student | ExportedStudent, contract: Contract) -> float:
    """The largest difference of two generators' images for the same inputs, in data units; infinite where not finite.

    uint8 images are compared with clamped ones, and half a level of rounding is taken off.
    """
    worst = 0.0
    for batch in (1, 3):
        drawn = contract.draw(batch, seed=batch)
        ours, theirs = (
            model.codec.decode(model(*drawn)) if model.codec else model(*drawn) for model in (generator, student)
        )
        worst = max(worst, _difference(ours, theirs, contract.uint8))
    return worst


def _difference(ours: Tensor, theirs: Tensor, uint8: bool) -> float:
    if not theirs.isfinite().all() or theirs.shape != ours.shape:
        return float("inf")
    if uint8:
        return max(0.0, float((ours.clamp(-1, 1) - theirs).abs().max()) - _HALF_LEVEL)
    return float((ours - theirs).abs().max())


def _check_difference(difference: float, to: str, precision: Precision) -> None:
    """Refuse a file that computes something else; a reduced precision only has to be finite."""
    if not math.isfinite(difference) or (precision == "fp32" and difference > TOLERANCE):
        raise ExportError(
            f"the exported {to} is off by {difference:.2g}, allowed is {TOLERANCE:g}: nothing was written."
        )


def _evaluator(generator: Student, data: Dataset, config: EvaluateConfig) -> Evaluator:
    """What measures, or an error where generator and data do not fit."""
    if generator.model.path.coupled:
        raise ConfigError("a generator that starts from source images cannot be measured while it is exported.")
    check_fits(generator, data)
    return make_evaluator(data, config)


def _measure(model: OneStep, evaluator: Evaluator, config: EvaluateConfig) -> dict[str, Any]:
    """FD and its company, as `realuid evaluate` writes them."""
    about = {"data": evaluator.data.name, **evaluator.describe()}
    return {**about, **evaluate_model(model, evaluator, config).to_dict()}
