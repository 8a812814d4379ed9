"""Train a small autoencoder (diffusers' AutoencoderDC) on images, for teachers on latents.

python examples/train_autoencoder.py DATA FOLDER [UPDATES]

Then: realuid prepare DATA OUT --autoencoder FOLDER, and realuid train RECIPE --data.source OUT trains on the latents.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderDC
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

import realuid
from realuid.data import Dataset, to_float

#: Latents: channels, and side as a fraction of the image's. Channels of the levels, of which the first has no layers.
LATENT, FACTOR, CHANNELS = 16, 8, (16, 32, 64, 128)
#: Side of the random crops that are trained on, and standard deviation of the noise on latents, which bounds how much
#: they can say (Chen et al. 2024 train without a divergence of a posterior, too).
CROP, NOISE = 32, 0.03
BATCH, RATE, SEED = 16, 2e-3, 0


def small_autoencoder(channels: int) -> AutoencoderDC:
    """Blocks between pixel-unshuffling and -shuffling; averages of pixels pass beside them, so it soon reconstructs."""
    levels = len(CHANNELS)
    layers = (0, *(1,) * (levels - 1))
    return AutoencoderDC(
        in_channels=channels,
        latent_channels=LATENT,
        encoder_block_types=("ResBlock",) * levels,
        decoder_block_types=("ResBlock",) * levels,
        encoder_block_out_channels=CHANNELS,
        decoder_block_out_channels=CHANNELS,
        encoder_layers_per_block=layers,
        decoder_layers_per_block=layers,
        encoder_qkv_multiscales=((),) * levels,
        decoder_qkv_multiscales=((),) * levels,
    )


def crops(data: Dataset) -> torch.Tensor:
    """A batch of float images in [-1, 1], all cut at one random place."""
    side = min(CROP, *data.shape[1:])
    top, left = (int(torch.randint(whole - side + 1, ())) for whole in data.shape[1:])
    images = data.values[torch.randint(len(data), (BATCH,))]
    return to_float(images[:, :, top : top + side, left : left + side]).contiguous(memory_format=torch.channels_last)


def train(data: Dataset, updates: int) -> AutoencoderDC:
    """L1 error of reconstructions; latents are brought to mean 0 and standard deviation 1 by channel at the end."""
    torch.manual_seed(SEED)
    model = small_autoencoder(data.shape[0]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = OneCycleLR(optimizer, RATE, total_steps=updates, pct_start=0.15)
    for _ in tqdm(range(updates), mininterval=5):
        x = crops(data)
        latents = model.encode(x).latent
        loss = F.l1_loss(model.decode(latents + NOISE * torch.randn_like(latents)).sample, x)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval().requires_grad_(False)
    some = to_float(data.values[torch.randperm(len(data))[:1024]])
    latents = torch.cat([model.encode(part).latent for part in some.split(BATCH)]).transpose(0, 1).flatten(1)
    model.register_to_config(
        scaling_factor=1.0, latents_mean=latents.mean(1).tolist(), latents_std=latents.std(1).tolist()
    )
    return model


def main(source: str, folder: Path, updates: int = 20000) -> None:
    """Train on a source of data, and report the error of reconstructions."""
    data = realuid.load_dataset(source)
    model = train(data, updates)
    model.save_pretrained(folder)
    x = to_float(data.values[torch.randperm(len(data))[:256]])
    restored = torch.cat([model.decode(model.encode(part).latent).sample.clamp(-1, 1) for part in x.split(BATCH)])
    signal = -10 * torch.log10(F.mse_loss(restored, x) / 4)
    error = 127.5 * float((restored - x).abs().mean())
    print(f"mean absolute error of {len(x)} images: {error:.2f} of 255, {float(signal):.1f} dB")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
