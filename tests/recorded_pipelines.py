"""Tiny pipelines of classes that have no interface here."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers_folders import randomise
from pipeline_parts import gemma, kl, t5, tokenizer


def aura_flow() -> Any:
    """Told sigma; embeddings are zero beyond a prompt."""
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    )
    return diffusers.AuraFlowPipeline(
        tokenizer=tokenizer(256),
        text_encoder=t5(16),
        vae=kl(),
        transformer=randomise(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73),
    )


def lumina() -> Any:
    """Told 1 - sigma and a mask; the pipeline negates what its denoiser returns."""
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        hidden_size=16,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 16, 16),
        cap_feat_dim=16,
    )
    return diffusers.Lumina2Pipeline(
        transformer=randomise(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=kl(shift_factor=0.06),
        text_encoder=gemma(layers=2),
        tokenizer=tokenizer(300),
    )


def chroma() -> Any:
    """Its denoiser reads tokens, from which a recording cannot tell the samples."""
    transformer = diffusers.ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    return diffusers.ChromaPipeline(
        transformer=randomise(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=kl(shift_factor=0.06),
        text_encoder=t5(32),
        tokenizer=tokenizer(512),
    )
