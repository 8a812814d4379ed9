"""Which files of a model on the hub are downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from httpx import HTTPError

from realuid.loaders import hub

#: Names as repositories of Stable Diffusion 1.5 and SDXL on the hub have them.
SD15 = """
.gitattributes README.md model_index.json v1-5-pruned.ckpt v1-5-pruned.safetensors v1-5-pruned-emaonly.safetensors
scheduler/scheduler_config.json tokenizer/merges.txt tokenizer/vocab.json tokenizer/tokenizer_config.json
text_encoder/config.json text_encoder/model.safetensors text_encoder/model.fp16.safetensors
text_encoder/pytorch_model.bin unet/config.json unet/diffusion_pytorch_model.bin
unet/diffusion_pytorch_model.safetensors unet/diffusion_pytorch_model.fp16.safetensors
unet/diffusion_pytorch_model.non_ema.safetensors unet/diffusion_flax_model.msgpack vae/config.json
vae/diffusion_pytorch_model.bin vae_decoder/model.onnx vae_decoder/openvino_model.bin vae_decoder/openvino_model.xml
"""
KEPT = """
model_index.json scheduler/scheduler_config.json text_encoder/config.json text_encoder/model.safetensors
tokenizer/merges.txt tokenizer/tokenizer_config.json tokenizer/vocab.json unet/config.json
unet/diffusion_pytorch_model.safetensors vae/config.json vae/diffusion_pytorch_model.bin
"""
#: Shards, a variant only, and a tokenizer of sentencepiece.
SHARDED = """
model_index.json transformer/config.json transformer/diffusion_pytorch_model-00001-of-00002.safetensors
transformer/diffusion_pytorch_model-00002-of-00002.safetensors
transformer/diffusion_pytorch_model.safetensors.index.json tokenizer/spiece.model
text_encoder/model.fp16-00001-of-00002.safetensors text_encoder/model.fp16-00002-of-00002.safetensors
text_encoder/model.safetensors.index.fp16.json
"""


def test_a_pipeline_is_downloaded_once_and_with_its_vocabularies() -> None:
    assert hub.files_to_read(SD15.split()) == KEPT.split()
    assert hub.files_to_read([*SHARDED.split(), "flux1-dev.safetensors", "ae.safetensors"]) == sorted(SHARDED.split())


def test_other_models_have_their_weights_in_the_root() -> None:
    assert hub.files_to_read(["config.json", "model.safetensors", "README.md"]) == ["config.json", "model.safetensors"]
    assert hub.files_to_read(["pytorch_lora_weights.safetensors"]) == ["pytorch_lora_weights.safetensors"]


@pytest.mark.parametrize("reached", [True, False])
def test_without_a_network_the_cache_is_read(reached: bool, monkeypatch, tmp_path: Path) -> None:
    asked = []

    def files(name: str, revision: str | None) -> list[str]:
        if not reached:
            raise HTTPError("no network")
        return SD15.split()

    def download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(hub, "list_repo_files", files)
    monkeypatch.setattr(hub, "snapshot_download", download)
    assert hub.snapshot("org/name", "v1") == tmp_path
    patterns = KEPT.split() if reached else ["*.json", "*.safetensors", "*.bin", "*.txt", "*.model"]
    assert asked == [("org/name", "v1", patterns)]
