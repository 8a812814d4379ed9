"""Fine-tunes given as BASE+ADAPTER: against the pipeline that loads the same adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pipelines
import pytest
import torch
from diffusers_folders import randomise, relative_error
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from pipeline_runs import denoiser_of, run
from safetensors.torch import load_file, save_file

from realuid.errors import CheckpointError, RealUIDError
from realuid.loaders import load_teacher
from realuid.loaders.formats import base_and_adapter, lasting
from realuid.loaders.prompts import load_prompt_encoder

PROMPTS = [pipelines.PROMPT]


def adapted(name: str, folder: Path) -> Path:
    """An adapter of random weights, alpha / rank = 2, as diffusers' training scripts write it."""
    pipeline = pipelines.make(name)
    network = denoiser_of(pipeline)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_v", "to_out.0"])
    inject_adapter_in_model(config, network, "default")
    for parameter_name, parameter in network.named_parameters():
        if "lora_" in parameter_name:
            parameter.data = torch.randn_like(parameter) / 2
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    pipeline.save_lora_weights(
        folder,
        **{f"{part}_lora_layers": get_peft_model_state_dict(network)},
        **{f"{part}_lora_adapter_metadata": config.to_dict()},
    )
    return folder


def error(name: str, source: str, pipeline: Any) -> float:
    teacher = load_teacher(source, size=pipelines.size_of(name))
    condition = load_prompt_encoder(teacher.prompts).encode(PROMPTS)
    heard = run(name, pipeline, PROMPTS, steps=2)
    step = heard.told[0].double() + (teacher.path.name == "ddpm")
    with torch.no_grad():
        found = teacher(heard.inputs[0], (step / 1000).float().expand(1), condition)
    assert teacher.origin == source and not any("lora" in n for n, _ in teacher.network.named_parameters())
    return relative_error(found, heard.outputs[0])


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("sdxl", "sd3", "sana", "qwen_image", "wan")]


@pytest.mark.parametrize("name", ["sd_epsilon", "flux_dev", *SLOW])
def test_an_adapter_of_diffusers_is_merged(name: str, tmp_path: Path) -> None:
    base, adapter = pipelines.save(name, tmp_path / "base"), adapted(name, tmp_path / "adapter")
    pipeline = pipelines.make(name)
    pipeline.load_lora_weights(adapter)
    assert error(name, f"{base}+{adapter}", pipeline) < 1e-5
    assert error(name, str(base), pipelines.make(name)) < 1e-6 < 1e-3 < error(name, str(base), pipeline)


def test_an_adapter_of_peft_is_merged(tmp_path: Path) -> None:
    """PixArt's, which diffusers itself has no format for."""
    name = "pixart_alpha"
    base, pipeline = pipelines.save(name, tmp_path / "base"), pipelines.make(name)
    model = get_peft_model(pipeline.transformer, LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_v"]))
    randomise(model.base_model)
    model.save_pretrained(tmp_path / "adapter")
    fresh = pipelines.make(name)
    from peft import PeftModel

    fresh.transformer = PeftModel.from_pretrained(fresh.transformer, tmp_path / "adapter").merge_and_unload()
    assert error(name, f"{base}+{tmp_path / 'adapter'}", fresh) < 1e-6


def test_an_adapter_of_kohya_is_merged(tmp_path: Path) -> None:
    """The same adapter under kohya's names, with alpha as a tensor."""
    base, adapter = pipelines.save("sd_epsilon", tmp_path / "base"), adapted("sd_epsilon", tmp_path / "adapter")
    weights = load_file(adapter / "pytorch_lora_weights.safetensors")
    kohya = {}
    for name, value in weights.items():
        layer, matrix = name.removeprefix("unet.").rsplit(".lora_", 1)
        under = f"lora_unet_{layer.replace('.', '_')}"
        kohya[f"{under}.lora_{'down' if matrix.startswith('A') else 'up'}.weight"] = value
        kohya[f"{under}.alpha"] = torch.tensor(4.0)
    save_file(kohya, tmp_path / "kohya.safetensors")
    found, expected = (
        load_teacher(f"{base}+{a}").network.state_dict() for a in (tmp_path / "kohya.safetensors", adapter)
    )
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    plain = load_teacher(base).network.state_dict()
    assert not all(torch.equal(found[name], plain[name]) for name in plain)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    base, other = pipelines.save("sd_epsilon", tmp_path / "base"), adapted("sd3", tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"the adapter '.*' (is of another architecture|changes transformer)"):
        load_teacher(f"{base}+{other}")
    with pytest.raises(RealUIDError, match="there is no such file or folder"):
        load_teacher(f"{base}+{tmp_path / 'nothing'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no files of an adapter's weights"):
        load_teacher(f"{base}+{tmp_path / 'empty'}")
    (other / "pytorch_lora_weights.safetensors").write_bytes(b"\x08" + b"\x00" * 20)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_teacher(f"{base}+{other}")


def test_a_plus_in_a_name_is_no_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a+b", "c"):
        (tmp_path / name).mkdir()
    assert base_and_adapter("a+b") == ("a+b", "") and base_and_adapter("a+b+c") == ("a+b", "c")
    assert base_and_adapter("org/name+x") == ("org/name", "x") and base_and_adapter("nothing+x") == ("nothing+x", "")
    assert lasting("c+org/name") == f"{tmp_path / 'c'}+org/name" and lasting("org/name") == "org/name"
    assert json.dumps(lasting("a+b")) == json.dumps(str(tmp_path / "a+b"))
