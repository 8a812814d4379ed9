"""Tiny text-to-image pipelines of diffusers with random weights, their tokenizers among them, and their own calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


def sdxl() -> Any:
    return diffusers.StableDiffusionXLPipeline(
        vae=kl(latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.5, 2.0, 1.0]),
        text_encoder=clip(),
        text_encoder_2=clip(projected=True),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=conditional_unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        add_watermarker=False,
    )


def sd3() -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=8,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=randomise(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=kl(shift_factor=0.06),
        text_encoder=clip(projected=True),
        text_encoder_2=clip(projected=True),
        text_encoder_3=t5(32),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        tokenizer_3=tokenizer(256),
    )


def flux(guidance: bool = True) -> Any:
    """FLUX.1-dev, with an embedded guidance scale, or schnell."""
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 4, 8),
    )
    return diffusers.FluxPipeline(
        transformer=randomise(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=guidance),
        vae=kl(shift_factor=0.06),
        text_encoder=clip(),
        text_encoder_2=t5(32),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(512),
    )


def pixart(kind: str, side: int) -> Any:
    """PixArt-alpha of 1024 pixels is told the size of the image; others are not."""
    transformer = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=24,
        sample_size=side,
        patch_size=2,
        caption_channels=16,
        num_embeds_ada_norm=1000,
        interpolation_scale=1,
    )
    return getattr(diffusers, kind)(
        tokenizer=tokenizer(120),
        text_encoder=t5(16),
        vae=kl(),
        transformer=randomise(transformer),
        scheduler=diffusers.DPMSolverMultistepScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
    )


def sana() -> Any:
    two = ("ResBlock", "EfficientViTBlock")
    vae = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=two,
        decoder_block_types=two,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=16,
        sample_size=8,
        timestep_scale=0.5,
    )
    gemma = transformers.Gemma2Config(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    return diffusers.SanaPipeline(
        tokenizer=tokenizer(300),
        text_encoder=randomise(transformers.Gemma2Model(gemma)),
        vae=randomise(vae),
        transformer=randomise(transformer),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )


def qwen_image() -> Any:
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.5, 2.0, 1.0],
    )
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    sizes = {"hidden_size": 16, "intermediate_size": 16}
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6}
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **sizes,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": rope,
            "vocab_size": 20,
        },
        vision_config={**sizes, "depth": 1, "num_heads": 2, "out_hidden_size": 16},
    )
    return diffusers.QwenImagePipeline(
        transformer=randomise(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=randomise(vae),
        text_encoder=randomise(transformers.Qwen2_5_VLForConditionalGeneration(config)),
        tokenizer=tokenizer(1100),
    )


def wan() -> Any:
    vae = diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.5, 2.0, 1.0],
        scale_factor_temporal=2,
        scale_factor_spatial=2,
    )
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
    )
    umt5 = transformers.UMT5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return diffusers.WanPipeline(
        tokenizer=tokenizer(512),
        text_encoder=randomise(transformers.UMT5EncoderModel(umt5)),
        vae=randomise(vae),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        transformer=randomise(transformer),
    )


#: Name -> a function that makes a pipeline.
PIPELINES: dict[str, Callable[[], Any]] = {
    "sd_epsilon": stable_diffusion,
    "sd_v": lambda: stable_diffusion("v_prediction"),
    "sdxl": sdxl,
    "sd3": sd3,
    "flux_dev": flux,
    "flux_schnell": lambda: flux(guidance=False),
    "pixart_alpha": lambda: pixart("PixArtAlphaPipeline", 128),
    "pixart_sigma": lambda: pixart("PixArtSigmaPipeline", 32),
    "sana": sana,
    "qwen_image": qwen_image,
    "wan": wan,
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


#: Size of the images, or videos, that the tiny pipelines make here.
SIZE = {"wan": (5, 16, 16), "sana": (32, 32)}


def size_of(name: str) -> tuple[int, ...]:
    return SIZE.get(name, (16, 16))


@dataclass
class Run:
    """What happened while a pipeline made samples.

    Attributes:
        inputs, times: of the denoiser in every step, for the conditional half, in the shape of latents.
        outputs: guided predictions that the scheduler got.
        told: the scheduler's own times.
        latents, images: what came out; images in [0, 1].
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    told: list[Tensor]
    latents: Tensor
    images: Tensor


def denoiser_of(pipeline: Any) -> nn.Module:
    return pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer


@torch.no_grad()
def run(name: str, pipeline: Any, prompts: list[str], guidance: float = 1.0, steps: int = 2) -> Run:
    """Call a pipeline as its users do, and listen to its denoiser and its scheduler.

    Args:
        name: in `PIPELINES`.
        pipeline: with all of its parts.
        prompts: one for every sample.
        guidance: of classifier-free guidance; 1 for none.
        steps: of the scheduler.
    """
    how: dict[str, Any] = {"prompt": prompts, "num_inference_steps": steps}
    *frames, how["height"], how["width"] = size_of(name)
    if frames:
        how["num_frames"] = frames[0]
    if name.startswith(("flux", "qwen")):
        how |= {"true_cfg_scale": guidance, "negative_prompt": [" " if name == "qwen_image" else ""] * len(prompts)}
    else:
        how["guidance_scale"] = guidance
    if name.startswith(("pixart", "sana")):
        how["use_resolution_binning"] = False
    inputs, outputs, told = [], [], []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = args[0] if args else kwargs["hidden_states"]
        inputs.append(latents_of(name, x[-len(prompts) :].clone()))

    step = pipeline.scheduler.step

    def listening(output: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Any:
        outputs.append(latents_of(name, output.clone()))
        told.append(t)
        return step(output, t, *args, **kwargs)

    handle = denoiser_of(pipeline).register_forward_pre_hook(before, with_kwargs=True)
    pipeline.scheduler.step = listening
    try:
        noise = torch.Generator().manual_seed(5)
        latents = latents_of(name, pipeline(**how, output_type="latent", generator=noise)[0])
        heard = list(inputs), list(outputs), list(told)
        images = pipeline(**how, output_type="pt", generator=noise.manual_seed(5))[0]
    finally:
        handle.remove()
        pipeline.scheduler.step = step
    every = len(heard[0]) // len(heard[1])
    return Run(heard[0][::every], heard[1], heard[2], latents, images)


def latents_of(name: str, x: Tensor) -> Tensor:
    """Packed tokens as latents; others as they are."""
    if not name.startswith(("flux", "qwen")):
        return x
    height, width = (side // 2 for side in size_of(name))
    pipeline = diffusers.FluxPipeline
    return pipeline._unpack_latents(x, 2 * height, 2 * width, 2)
