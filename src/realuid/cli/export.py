"""realuid export MODEL OUT --to FORMAT: write a student in another format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from realuid.cli.options import console, parse, say_next
from realuid.errors import ConfigError
from realuid.exports import ExportOptions, FormatName
from realuid.recipes import DataConfig, EvaluateConfig
from realuid.text import fd_name

if TYPE_CHECKING:
    from realuid.exports import Export


@dataclass(frozen=True)
class Options:
    """Export a student to diffusers, ONNX, torch.export, safetensors or the authors' format, and verify the file."""

    #: A student: a model folder, a run folder, or an exported file that holds its weights.
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    #: Output: a new folder (space, diffusers), or a file: .onnx, .pt2 (torch), .safetensors, .pt (authors).
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    #: Format.
    to: FormatName
    export: Annotated[ExportOptions, tyro.conf.arg(name="")] = field(default_factory=ExportOptions)
    #: Compute the FD against this data, for the model card and, with reduced precision, before and after.
    data: DataConfig = field(default_factory=lambda: DataConfig(source=""))
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    #: Upload the folder to this repository of the Hugging Face Hub, owner/name (diffusers); `hf auth login` first.
    push_to_hub: str = ""
    #: Create the repository as a private one.
    private: bool = False


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "export", arguments)

    from realuid.exports import export_student, is_exported

    if options.private and not options.push_to_hub:
        raise ConfigError("private = True: only with --push-to-hub.")
    chosen = options.data
    result = export_student(
        options.model,
        options.out,
        options.to,
        options.export,
        data=chosen.load() if chosen.source else None,
        evaluate=options.evaluate,
        push_to_hub=options.push_to_hub,
        private=options.private,
    )
    for line in report(result):
        console.print(line)
    if options.to in ("diffusers", "lora") and not is_exported(options.out):
        say_next(f"see {options.out / 'README.md'} for the lines that run it")
    else:
        say_next(f"realuid sample {options.out} --out exported.png")


def report(result: Export) -> list[str]:
    """What was written, its largest difference from the student, and the FD of both."""
    lines = [f"{result.path}: largest difference from the student {result.difference:.2g} (images are in [-1, 1])"]
    if result.own_code:
        lines.append(
            f"loading it needs trust_remote_code=True: diffusers' own pipelines do not fit ({result.own_code})"
        )
    if result.figures:
        lines.append(f"{fd_name(result.figures)} of the student {_fd(result.figures)}")
    if result.figures_exported:
        lines.append(f"{fd_name(result.figures_exported)} of the exported file {_fd(result.figures_exported)}")
    if result.address:
        lines.append(f"uploaded: {result.address}")
    return lines


def _fd(figures: dict[str, Any]) -> str:
    return (
        f"{figures['fd_mean']:.4g} +- {figures['fd_std']:.2g} ({figures['samples']} samples, "
        f"{len(figures['fd'])} seeds, features {figures['extractor']})"
    )
