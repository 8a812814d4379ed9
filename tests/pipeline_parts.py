"""Tiny parts of text-to-image pipelines: tokenizers, text encoders, autoencoders, a U-Net."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers
from diffusers_folders import randomise
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

WORDS = ["a", "red", "blue", "green", "seven", "cat", "dog", "on", "of", "photo", "the"]
LENGTH = 12


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


def gemma(layers: int) -> nn.Module:
    """Gemma 2, of which SANA and Lumina read the last hidden states."""
    config = transformers.Gemma2Config(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    return randomise(transformers.Gemma2Model(config))


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
