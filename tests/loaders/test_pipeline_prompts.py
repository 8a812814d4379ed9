"""Encoders of prompts from pipelines: only tokenizers and text encoders, and nothing cut in silence."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pipelines
import pytest
import torch
from safetensors.torch import load_file, save_file

from realuid.errors import CheckpointError, ConfigError, DataWarning
from realuid.loaders import load_prompt_encoder, load_teacher
from realuid.models import Condition

LONG = "red " * 30


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.save("sd_epsilon", tmp_path_factory.mktemp("sd") / "pipeline")


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def change_index(folder: Path, **parts: object) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **parts}))


def same(a: Condition, b: Condition) -> bool:
    return set(a) == set(b) and all(torch.allclose(a[name].float(), b[name].float(), atol=1e-6) for name in a)


def test_only_tokenizers_and_text_encoders_are_read(stable_diffusion: Path, tmp_path: Path) -> None:
    folder = copied(stable_diffusion, tmp_path / "texts")
    whole = load_prompt_encoder(folder)
    for part in ("unet", "vae", "scheduler"):
        shutil.rmtree(folder / part)
    alone = load_prompt_encoder(folder)
    assert same(alone.encode(["a cat", "a dog"]), whole.encode(["a cat", "a dog"])) and same(alone.null(), whole.null())
    assert alone.fingerprint == whole.fingerprint and alone.source == str(folder)


def test_prompts_in_many_batches_are_those_one_by_one(stable_diffusion: Path) -> None:
    encoder = load_prompt_encoder(stable_diffusion)
    prompts = [f"a {word} cat" for word in ("red", "blue", "green", "photo") * 10]
    every = encoder.encode(prompts)
    assert len(every["text"]) == 40
    for row in (0, 33, 39):
        assert same(every.select(slice(row, row + 1)), encoder.encode([prompts[row]]))


def test_the_fingerprint_is_of_the_text_encoders(stable_diffusion: Path, tmp_path: Path) -> None:
    other = copied(stable_diffusion, tmp_path / "other")
    weights = load_file(other / "unet" / "diffusion_pytorch_model.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, other / "unet" / "diffusion_pytorch_model.safetensors")
    assert load_prompt_encoder(other).fingerprint == load_prompt_encoder(stable_diffusion).fingerprint
    weights = load_file(other / "text_encoder" / "model.safetensors")
    save_file({k: v + 1e-3 for k, v in weights.items()}, other / "text_encoder" / "model.safetensors", {"format": "pt"})
    assert load_prompt_encoder(other).fingerprint != load_prompt_encoder(stable_diffusion).fingerprint


class Said(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_a_prompt_that_is_too_long_is_said(stable_diffusion: Path, monkeypatch) -> None:
    """By us alone: transformers would warn of indexing errors before."""
    monkeypatch.setattr(logging.getLogger("transformers"), "handlers", [said := Said()])
    encoder = load_prompt_encoder(stable_diffusion)
    encoder.encode(["red " * 10])  # 12 tokens with the first and the last
    with pytest.raises(ConfigError, match=r"the prompt 'red red .*' has 13 tokens, but the model reads 12: shorten it"):
        encoder.encode(["a cat", "red " * 11])
    assert said.records == []
    for wrong in ([], "a cat", [1]):
        with pytest.raises(ConfigError, match="prompts must be a list of at least one text"):
            encoder.encode(wrong)  # type: ignore[arg-type]


def test_a_prompt_that_one_of_two_encoders_reads_is_taken(tmp_path: Path) -> None:
    """FLUX.1: CLIP's pooled embedding is of the first tokens, T5 reads all."""
    encoder = load_prompt_encoder(pipelines.save("flux_schnell", tmp_path / "flux"))
    with pytest.warns(DataWarning, match=r"1 of 2 prompts have more than 12 tokens: one of the model's text encoders"):
        found = encoder.encode(["a cat", LONG])
    assert not torch.equal(found["text"], encoder.encode(["a cat", "red " * 9])["text"].expand(2, -1, -1))
    with pytest.raises(ConfigError, match="has 602 tokens, but the model reads 512"):
        encoder.encode(["red " * 600])


def test_sd3_without_its_largest_encoder(tmp_path: Path) -> None:
    """As the pipeline without T5 has it: zeros in its place."""
    folder = pipelines.save("sd3", tmp_path / "sd3")
    whole = load_prompt_encoder(folder).encode(["a cat"])
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(folder / part)
    change_index(folder, text_encoder_3=[None, None], tokenizer_3=[None, None])
    found = load_prompt_encoder(folder).encode(["a cat"])
    assert torch.equal(found["text"][:, :12], whole["text"][:, :12]) and not found["text"][:, 12:].any()
    assert torch.equal(found["pooled"], whole["pooled"]) and found["text"].shape == whole["text"].shape


def test_what_holds_no_encoder_is_refused(stable_diffusion: Path, tmp_path: Path) -> None:
    folder = copied(stable_diffusion, tmp_path / "without")
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(CheckpointError, match="is incomplete: text_encoder is missing"):
        load_prompt_encoder(folder)
    change_index(folder, text_encoder=[None, None])
    with pytest.raises(ConfigError, match="has no text encoder, so it cannot read prompts"):
        load_prompt_encoder(folder)
    assert load_teacher(folder).prompts == ""
    change_index(folder, _class_name="DDPMPipeline")
    with pytest.raises(ConfigError, match=r"prompts cannot be encoded by a DDPMPipeline. Supported pipelines"):
        load_prompt_encoder(folder)
    with pytest.raises(ConfigError, match=r"holds no encoder of prompts|is no sentence encoder"):
        load_prompt_encoder(stable_diffusion / "unet")


def test_incomplete_text_encoders_are_refused(stable_diffusion: Path, tmp_path: Path) -> None:
    folder = copied(stable_diffusion, tmp_path / "broken")
    file = folder / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    lost = next(name for name in weights if "final_layer_norm.weight" in name)
    save_file({k: v for k, v in weights.items() if k != lost}, file, {"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"weights in .* are incomplete: 1 missing, for instance .*final_layer_norm"
    ):
        load_prompt_encoder(folder)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"text_encoder/model\.safetensors' cannot be read"):
        load_prompt_encoder(folder)
