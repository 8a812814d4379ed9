"""Tiny text-to-image pipelines of diffusers with random weights, their tokenizers among them, and their own calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers_folders import randomise
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

WORDS = ["a", "red", "blue", "green", "seven", "cat", "dog", "on", "of", "photo", "the"]
LENGTH = 12
PROMPT = "a red seven on blue"


def tokenizer(most: int = LENGTH, padding_side: str = "right") -> Any:
    """Words to numbers, between <s> and </s>."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        model_max_length=most,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side=padding_side,
    )


def clip(width: int = 16, projected: bool = False) -> nn.Module:
    """CLIP's text encoder, with or without its projection."""
    config = transformers.CLIPTextConfig(
        vocab_size=20,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return randomise(kind(config))


def t5(width: int = 16) -> nn.Module:
    config = transformers.T5Config(
        vocab_size=20, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
    )
    return randomise(transformers.T5EncoderModel(config))


def kl(channels: int = 4, **settings: Any) -> nn.Module:
    """Images of twice the side of latents."""
    return randomise(
        diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            latent_channels=channels,
            norm_num_groups=4,
            **{"scaling_factor": 0.5, **settings},
        )
    )


def conditional_unet(**settings: Any) -> nn.Module:
    return randomise(
        diffusers.UNet2DConditionModel(
            **{
                "sample_size": 8,
                "block_out_channels": (8, 16),
                "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
                "layers_per_block": 1,
                "cross_attention_dim": 16,
                "attention_head_dim": 4,
                "norm_num_groups": 4,
                **settings,
            }
        )
    )


def stable_diffusion(prediction: str = "epsilon") -> Any:
    """Stable Diffusion: 1.x predicts epsilon, 2.x v."""
    return diffusers.StableDiffusionPipeline(
        vae=kl(),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        unet=conditional_unet(),
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type=prediction,
            clip_sample=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


#: Name -> a function that makes a pipeline.
PIPELINES: dict[str, Callable[[], Any]] = {
    "sd_epsilon": stable_diffusion,
    "sd_v": lambda: stable_diffusion("v_prediction"),
}


def make(name: str) -> Any:
    """A pipeline, the same every time."""
    torch.manual_seed(0)
    pipeline = PIPELINES[name]()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save(name: str, folder: Path) -> Path:
    make(name).save_pretrained(folder)
    return folder


class Calls(list[tuple[dict[str, Any], Tensor]]):
    """What a module was given by name, and what it answered, call by call."""

    def listen_to(self, module: nn.Module, names: tuple[str, ...]) -> Calls:
        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Any) -> None:
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            self.append((given, answer[0]))

        module.register_forward_hook(note, with_kwargs=True)
        return self
