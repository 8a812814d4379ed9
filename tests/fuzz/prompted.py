"""Damaged pipelines that read prompts, their encoders of prompts, and adapters (LoRA) of their denoisers."""

from __future__ import annotations

import copy
import json
import math
import random
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import peft
import pipelines
import recorded_pipelines
import torch
import transformers
from safetensors.torch import load_file, save_file

from fuzz.data import image
from fuzz.harness import Case, mutate
from fuzz.values import changed, odd
from realuid.data import load_dataset
from realuid.data.captions import read_prompts
from realuid.files import CHECKSUMS
from realuid.loaders import load_prompt_encoder, load_teacher
from realuid.loaders.lora import merge_adapter
from realuid.loaders.words import Words
from realuid.models import Condition, MatchingModel, from_pretrained, save_pretrained
from realuid.models.networks.prompted import PromptNetwork

#: Numbers of a sample that the networks here are not called with, see `fuzz.models`.
_LARGE = 2**16
_SIZE = (16, 16)
_SLOW_PATTERN = "(.*)*(.*)*(.*)*(.*)*x$"
#: Settings by which libraries run code, look elsewhere, or take long, and their hostile values.
_HOSTILE: tuple[tuple[str, Any], ...] = (
    ("auto_map", {"AutoModel": "evil.Model", "AutoConfig": "evil.Config", "AutoTokenizer": ["evil.T", None]}),
    *(("quantization_config", {"quant_method": method}) for method in ("gptq", "bitsandbytes", "x")),
    *((name, _SLOW_PATTERN) for name in ("target_modules", "exclude_modules", "layers_pattern")),
    *((name, {_SLOW_PATTERN: 2}) for name in ("rank_pattern", "alpha_pattern")),
    *(("megatron_config", {"a": 1}), ("megatron_core", "evil"), ("init_lora_weights", "pissa"), ("use_dora", True)),
    *(("peft_type", kind) for kind in ("PREFIX_TUNING", "LOHA", "OFT", "XLORA", "x")),
    *(("base_model_name_or_path", "/etc"), ("_name_or_path", "/etc"), ("_attn_implementation", "org/kernel")),
    *(("attn_implementation", "org/kernel"), ("model_type", "llama"), ("tokenizer_class", "LlamaTokenizer")),
    *(("r", 10**9), ("vocab_size", 10**9), ("hidden_size", 10**6), ("num_hidden_layers", 10**6), ("num_layers", 10**6)),
    *(("max_position_embeddings", 10**10), ("sample_size", 10**5), ("text_encoder/../../x", ["transformers", "CLIP"])),
    *(("text_encoder", ["transformers", kind]) for kind in ("AutoModel", "pipeline", "logging", "AutoTokenizer")),
    *(("tokenizer", ["transformers", kind]) for kind in ("AutoTokenizer", "CLIPTokenizer", "T5Tokenizer", "utils")),
    *(("_class_name", kind) for kind in ("FluxPipeline", "DiffusionPipeline", "LTXPipeline", "AutoencoderKL")),
    *(("dtype", "float64"), ("torch_dtype", "import"), ("model_max_length", -1), ("model_max_length", 10**30)),
)


def _odd_settings(text: str, chance: random.Random) -> bytes:
    """Settings with values of wrong types, or hostile ones, in them."""
    value: Any = json.loads(text)
    if chance.random() < 0.3 and isinstance(value, dict):
        value |= dict(chance.sample(_HOSTILE, chance.choice((1, 1, 2))))
    else:
        value = changed(value, chance)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _odd_weights(content: bytes, chance: random.Random) -> bytes:
    """A safetensors file with an odd header, or damaged bytes in it."""
    length = int.from_bytes(content[:8], "little")
    if chance.random() < 0.3:
        return mutate(content, chance, range(length + 8))
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    tensors = [name for name in header if name != "__metadata__"]
    match chance.randrange(5):
        case 0:
            header = changed(header, chance)
        case 1:
            name = chance.choice(tensors)
            header[chance.choice((name.replace(".", "_"), name + ".x", f"x.{name}", str(odd(chance))))] = header[name]
            if chance.random() < 0.5:
                del header[name]
        case 2:
            header[chance.choice(tensors)]["shape"] = chance.choice(([0], [1], [10**9], [2, 0], [1, 1, 1, 1], []))
        case 3:
            one, other = chance.choice(tensors), chance.choice(tensors)
            header[one], header[other] = header[other], header[one]
        case 4:
            about = header.setdefault("__metadata__", {})
            for key in [key for key in about if about[key].startswith("{")]:
                about[key] = _odd_settings(about[key], chance).decode("utf-8", "surrogatepass")
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _damaged(path: Path, chance: random.Random) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return _odd_weights(content, chance)
    if path.suffix != ".json" or chance.random() < 0.1:
        return mutate(content, chance)
    return _odd_settings(content.decode(), chance)


def _with(path: Path, content: bytes, read: Callable[[], Any]) -> Callable[[], None]:
    """Damages a file while something is read from it."""

    def damage() -> None:
        whole = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        try:
            read()
        finally:
            path.unlink()
            if whole is not None:
                path.write_bytes(whole)

    return damage


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@torch.no_grad()
def _call(model: MatchingModel) -> None:
    """Once, with zeros for what it reads."""
    if math.prod(model.shape) > _LARGE:
        return
    told = {}
    for spec in model.conditions:
        told[spec.name] = torch.zeros(1, *(3 if n is None else n for n in spec.shape), dtype=spec.dtype)
        if spec.mask:
            told[spec.mask] = torch.ones(1, 3, dtype=torch.bool)
    x = torch.zeros(1, *model.shape)
    assert model(x, torch.full((1,), 0.5), Condition(told)).shape == x.shape


def prompted(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Pipelines of known and unknown classes, and models of realuid made of one, with odd settings and weights."""
    known = pipelines.save("sd_epsilon", parent / "known")
    recorded_pipelines.aura_flow().save_pretrained(parent / "recorded")
    ours = save_pretrained(load_teacher(known), parent / "ours")
    (ours / CHECKSUMS).unlink()
    loads: list[tuple[Path, Callable[[Path], MatchingModel]]] = [
        *((known, load_teacher), (parent / "recorded", partial(load_teacher, size=_SIZE))),
        (ours, from_pretrained),  # type: ignore[list-item]
    ]
    files = {
        folder: [p for p in _files(folder) if "token" not in str(p) and "README" not in p.name] for folder, _ in loads
    }
    while True:
        folder, load = chance.choice(loads)
        path = chance.choice(files[folder])
        content = _damaged(path, chance)
        read = lambda folder=folder, load=load: _call(load(folder))  # noqa: E731
        yield Case(_with(path, content, read), sum(p.stat().st_size for p in files[folder]))


def _sentences(folder: Path) -> Path:
    """A small encoder in the format of sentence-transformers."""
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "cat"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=12, **small)
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "modules.json").write_text('[{"idx": 0}]')
    return folder


#: An adapter that transformers would merge into a text encoder beside it, of a base that lies elsewhere.
_ADAPTER = b'{"peft_type": "LORA", "base_model_name_or_path": "/etc", "r": 2, "target_modules": ["q_proj"]}'


def encoders(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Encoders of prompts, from pipelines of known and unknown classes and from sentence encoders."""
    folders = [pipelines.save("sd_epsilon", parent / "known"), parent / "recorded", _sentences(parent / "sentences")]
    recorded_pipelines.aura_flow().save_pretrained(parent / "recorded")
    for folder in folders:
        for path in _files(folder):
            if "vae" in str(path) or "scheduler" in str(path) or path.name == "diffusion_pytorch_model.safetensors":
                path.unlink()
        (folder / "evil.py").write_text("import os\nos.system('touch it-ran')\n")
    files = {folder: [p for p in _files(folder) if p.suffix != ".py"] for folder in folders}
    while True:
        folder = chance.choice(folders)
        path = chance.choice(files[folder])
        content = _damaged(path, chance)
        if chance.random() < 0.02:
            path, content = path.parent / "adapter_config.json", _ADAPTER
        read = lambda folder=folder: _encode(folder)  # noqa: E731
        yield Case(_with(path, content, read), sum(p.stat().st_size for p in files[folder]))


def _encode(folder: Path) -> None:
    encoder = load_prompt_encoder(folder)
    assert len(encoder.encode(["a red cat", ""])["text"]) == 2 and len(encoder.null()["text"]) == 1


def _adapters(base: Any, parent: Path) -> list[Path]:
    """An adapter in the format of diffusers, with its settings and without, of kohya, and of PEFT."""
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_out.0"])
    model = peft.get_peft_model(copy.deepcopy(base), config)
    model.save_pretrained(parent / "peft")
    weights = load_file(parent / "peft" / "adapter_model.safetensors")
    plain = {name.removeprefix("base_model.model."): value for name, value in weights.items()}
    named, kohya = {f"unet.{name}": value for name, value in plain.items()}, {}
    for name, value in plain.items():
        layer, matrix = name.rsplit(".lora_", 1)
        under = f"lora_unet_{layer.replace('.', '_')}"
        kohya[f"{under}.lora_{'down' if matrix.startswith('A') else 'up'}.weight"] = value
        kohya[f"{under}.alpha"] = torch.tensor(4.0)
    settings = {f"unet.{name}": value for name, value in config.to_dict().items()}
    about = {"lora_adapter_metadata": json.dumps(settings, default=sorted)}
    for name, content, metadata in (("named", named, about), ("bare", named, None), ("kohya", kohya, None)):
        (parent / name).mkdir()
        save_file(content, parent / name / "pytorch_lora_weights.safetensors", metadata)
    return [parent / name for name in ("peft", "named", "bare", "kohya")]


def adapters(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Adapters with odd settings, names and shapes, which are merged into a small U-Net."""
    network = load_teacher(pipelines.save("sd_epsilon", parent / "base")).network
    assert isinstance(network, PromptNetwork)
    folders = _adapters(network.denoiser, parent)
    files = {folder: [p for p in _files(folder) if p.suffix != ".md"] for folder in folders}
    while True:
        folder = chance.choice(folders)
        path = chance.choice(files[folder])
        content = _damaged(path, chance)
        read = lambda folder=folder: merge_adapter(copy.deepcopy(network), str(folder))  # noqa: E731
        yield Case(_with(path, content, read), sum(p.stat().st_size for p in files[folder]))


def captions(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Captions of images in a folder, files of prompts, and prompts themselves."""
    folder = parent / "captioned"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(image(random.Random(0)))
    rows: list[Any] = [{"file_name": f"{i}.png", "text": "a red cat"} for i in range(3)]
    while True:
        path = folder / chance.choice(("metadata.jsonl", "1.txt", "prompts.list"))
        lines = [json.dumps(row) for row in changed(rows, chance)]
        content = "\n".join(lines).encode("utf-8", "surrogatepass") or b"\n"
        if chance.random() < 0.4:
            content = mutate(content, chance)
        read = lambda path=path: _captions(path)  # noqa: E731
        yield Case(_with(path, content, read), len(content))


def _captions(path: Path) -> None:
    if path.suffix == ".list":
        Words().encode(read_prompts(path))
        return
    data = load_dataset(str(path.parent))
    data.take(torch.arange(min(3, len(data))))
    Words().encode([caption or "" for caption in data.captions])
