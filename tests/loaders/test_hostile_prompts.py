"""Text encoders, tokenizers and adapters whose files ask for more than weights: nothing runs, nothing grows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pipelines
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers_folders import save_ddpm, unet
from safetensors.torch import load_file, save_file

from realuid.errors import CheckpointError, ConfigError
from realuid.loaders import load_prompt_encoder, load_teacher
from realuid.loaders.adapter_settings import settings_of
from realuid.loaders.text_parts import Counting
from realuid.models.networks.architectures import make_network


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.save("sd_epsilon", tmp_path_factory.mktemp("hostile") / "pipeline")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "pipeline"))


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    ("text_encoder/config.json", {"num_hidden_layers": 10**6}, "far larger than the"),
    ("text_encoder/config.json", {"vocab_size": 10**9}, r"ask for [\d,]+ weights, but there are"),
    ("text_encoder/config.json", {"attn_implementation": "someone/kernel"}, "asks for code of 'someone/kernel'"),
    ("tokenizer/tokenizer_config.json", {"model_max_length": 10**9}, "padded to 1000000000 tokens"),
    ("model_index.json", {"text_encoder": ["transformers", "pipeline"]}, "is a pipeline, which is no model of"),
    ("model_index.json", {"tokenizer": ["transformers", "CLIPTextModel"]}, "which is no tokenizer of transformers"),
    ("unet/config.json", {"num_attention_heads": 3}, "can be made of"),
    ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}, "needed is a number from 2 to 100,000"),
]


@pytest.mark.parametrize(("file", "settings", "message"), HOSTILE)
def test_settings_that_ask_for_more_than_the_files_hold_are_refused(
    file: str, settings: dict[str, Any], message: str, folder: Path
) -> None:
    change(folder / file, **settings)
    with pytest.raises(CheckpointError, match=message):
        load_prompt_encoder(folder).encode(["a cat"])


def _template(folder: Path, **settings: Any) -> None:
    """A tokenizer whose template has settings of its own."""
    file = folder / "tokenizer" / "tokenizer.json"
    pieces = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    template = {"type": "TemplateProcessing", "single": pieces, "pair": pieces, "special_tokens": {}}
    change(file, post_processor={**template, **settings})


@pytest.mark.parametrize("special", [{}, {"<x>": {"id": "<x>", "ids": [0], "tokens": ["<x>"]}}])
def test_a_template_with_a_token_that_is_not_defined_is_refused(
    special: dict[str, Any], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """tokenizers panics at it, which is no `Exception`, and prints (`pyo3_runtime.PanicException`)."""
    _template(folder, special_tokens=special)
    with pytest.raises(CheckpointError, match="has a template with '<s>', no special token"):
        load_prompt_encoder(folder).encode(["a cat"])
    assert "panicked" not in capfd.readouterr().err


def test_a_panic_of_a_tokenizer_is_an_error_of_the_file() -> None:
    class PanicException(BaseException):  # as pyo3 calls it
        pass

    def tokenizer(*texts: Any, **how: Any) -> None:
        raise PanicException("no entry found for key")

    tokenizer.model_max_length = 8  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="no entry found for key"):
        Counting(tokenizer)(["a cat"], truncation=True)


def test_parts_that_lead_out_of_the_folder_are_refused(folder: Path) -> None:
    names = ["text_encoder/../../else", "tokenizer/../.."]
    change(folder / "model_index.json", **{name: ["transformers", "CLIPTextModel"] for name in names})
    with pytest.raises(CheckpointError, match=r"unexpected keyword argument 'text_encoder/../../else'"):
        load_prompt_encoder(folder)


def test_an_index_that_names_files_elsewhere_is_refused(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").rename(folder / "else.safetensors")
    index = {"weight_map": {"a": "../else.safetensors"}}
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="does not name the files of its folder"):
        load_prompt_encoder(folder)


def test_an_adapter_beside_a_text_encoder_is_not_followed(folder: Path) -> None:
    """transformers would look for the base that it names."""
    expected = load_prompt_encoder(folder).encode(["a cat"])["text"]
    other = json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(folder / "nothing")})
    (folder / "text_encoder" / "adapter_config.json").write_text(other)
    torch.testing.assert_close(load_prompt_encoder(folder).encode(["a cat"])["text"], expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [4.0, [4], "x", [4.0, 4.0], {}])
def test_a_size_of_another_type_is_an_error_of_the_file(size: Any, tmp_path: Path) -> None:
    folder = save_ddpm(tmp_path / "pipeline", unet(), DDPMScheduler(num_train_timesteps=20))
    change(folder / "unet" / "config.json", sample_size=size)
    with pytest.raises(CheckpointError):
        load_teacher(folder)


@pytest.mark.parametrize("settings", [{"heads": [[]]}, {"num_classes": [0]}, {"width": True}, {"depth": "2"}])
def test_numbers_of_a_network_are_numbers(settings: dict[str, Any]) -> None:
    """A list would be repeated a billion times."""
    with pytest.raises(ConfigError, match="but needed is int"):
        make_network("mlp", {"features": 10**9, **settings})


LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def matrices(rank: int = 2) -> dict[str, torch.Tensor]:
    return {f"{LAYER}.lora_A.weight": torch.ones(rank, 8), f"{LAYER}.lora_B.weight": torch.ones(8, rank)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "is a PREFIX_TUNING. Supported is LORA"),
        ({"init_lora_weights": "pissa_niter_4"}, "was started by pissa_niter_4"),
        ({"megatron_config": {"a": 1}}, "has the setting megatron_config"),
        ({"layer_replication": [[0, 9]]}, "has the setting layer_replication"),
        ({"r": 10**8}, r"says rank 100000000 of down_blocks.* but its weights have 2"),
        ({"r": 2, "rank_pattern": {"to_q": 4}}, "says rank 4 of"),
        ({"lora_alpha": float("nan")}, "lora_alpha = nan is no number"),
        ({"lora_alpha": True}, "lora_alpha = True is no number"),
        ({"lora_alpha": 1, "alpha_pattern": {"(.*)*x$": 2}}, "alpha_pattern does not say names of layers"),
        ({"lora_alpha": 1, "alpha_pattern": {"to_q": "2"}}, "lora_alpha = 2 is no number"),
    ],
)
def test_settings_of_adapters_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        settings_of(matrices(), settings, "adapter")


def test_layers_and_ranks_are_those_of_the_weights() -> None:
    other = {name.replace("to_q", "to_v"): value for name, value in matrices(3).items()}
    third = {name.replace("to_q", "to_k"): value for name, value in matrices(3).items()}
    said = {"r": 3, "rank_pattern": {"to_q": 2}, "lora_alpha": 6, "alpha_pattern": {"^" + LAYER: 5, "attn1.to_q": 7}}
    found = settings_of({**matrices(), **other, **third}, {**said, "target_modules": "(.*)*(.*)*x$"}, "adapter")
    config = peft.LoraConfig(**found)
    assert config.r == 3 and config.lora_alpha == 6 and len(config.rank_pattern) == len(config.alpha_pattern) == 1
    assert [*config.rank_pattern.values(), *config.alpha_pattern.values()] == [2, 5]
    plain = settings_of({**matrices(), **other, **third}, {}, "adapter")
    assert (plain["r"], plain["lora_alpha"]) == (3, 3) and plain["rank_pattern"] == plain["alpha_pattern"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda weights: {name: value[:, :0] for name, value in weights.items()}, "a tensor without numbers"),
        (lambda weights: {name: value for name, value in weights.items() if "lora_A" in name}, "incomplete or damaged"),
        (lambda weights: {name: value * torch.nan for name, value in weights.items()}, "cannot be merged"),
        (lambda weights: {name.replace("to_q", "(a+)+"): value for name, value in weights.items()}, "lacks 1 of its 1"),
    ],
)
def test_damaged_adapters_are_refused(
    spoil: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], message: str, whole: Path, tmp_path: Path
) -> None:
    size = load_file(whole / "unet" / "diffusion_pytorch_model.safetensors")[f"{LAYER}.weight"].shape[0]
    good = {f"unet.{LAYER}.lora_A.weight": torch.ones(2, size), f"unet.{LAYER}.lora_B.weight": torch.ones(size, 2)}
    save_file(good, tmp_path / "good.safetensors")
    load_teacher(f"{whole}+{tmp_path / 'good.safetensors'}")
    save_file({name: value.contiguous() for name, value in spoil(good).items()}, tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_teacher(f"{whole}+{tmp_path / 'bad.safetensors'}")
