"""Train a small autoencoder (diffusers' AutoencoderKL) on images, for teachers on latents.

python examples/train_autoencoder.py DATA FOLDER [UPDATES]

Then: realuid prepare DATA OUT --autoencoder FOLDER, and realuid train RECIPE --data.source OUT trains on the latents.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

import realuid
from realuid.data import Dataset, to_float

#: Weight of the Kullback-Leibler divergence of the posterior from a standard normal (Rombach et al. 2022).
KL = 1e-6
BATCH, RATE, SEED = 16, 2e-3, 0


def small_autoencoder(shape: tuple[int, ...]) -> AutoencoderKL:
    """Latents of 4 channels and a quarter of the side."""
    channels, side, _ = shape
    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 96),
        latent_channels=4,
        norm_num_groups=8,
        sample_size=side,
        mid_block_add_attention=False,
    )


def train(data: Dataset, updates: int) -> AutoencoderKL:
    """L1 error of reconstructions and a small KL term; latents are scaled to unit variance at the end."""
    torch.manual_seed(SEED)
    model = small_autoencoder(data.shape).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = OneCycleLR(optimizer, RATE, total_steps=updates)
    for _ in tqdm(range(updates)):
        x = to_float(data.values[torch.randint(len(data), (BATCH,))]).contiguous(memory_format=torch.channels_last)
        posterior = model.encode(x).latent_dist
        loss = F.l1_loss(model.decode(posterior.sample()).sample, x) + KL * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval().requires_grad_(False)
    some = to_float(data.values[torch.randperm(len(data))[:256]])
    latents = torch.cat([model.encode(part).latent_dist.sample() for part in some.split(BATCH)])
    model.register_to_config(scaling_factor=1 / float(latents.std()), shift_factor=float(latents.mean()))
    return model


def main(source: str, folder: Path, updates: int = 4000) -> None:
    """Train on a source of data, and report the error of reconstructions."""
    data = realuid.load_dataset(source)
    model = train(data, updates)
    model.save_pretrained(folder)
    x = to_float(data.values[torch.arange(min(256, len(data)))])
    restored = torch.cat([model.decode(model.encode(part).latent_dist.mode()).sample for part in x.split(BATCH)])
    print(f"mean absolute error of {len(x)} images: {127.5 * float((restored - x).abs().mean()):.2f} of 255")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
