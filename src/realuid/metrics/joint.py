"""Joint spaces of images and captions, in which similarity is a cosine: CLIP, or a small one trained on the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realuid.data import Dataset, to_float
from realuid.data.captions import complete
from realuid.errors import ConfigError, DataError
from realuid.metrics.cache import read_cached, write_cached
from realuid.metrics.features import Classifier
from realuid.models.networks.condition import Condition
from realuid.models.prompts import TEXT, TEXT_MASK, PromptEncoder
from realuid.on_data.prompts import distinct, encode_prompts
from realuid.seeds import mix, seeded, stream

#: Part of the cache's keys; to be raised when the small space or its training changes.
_VERSION = 1
#: Width of the small space and of its text tower.
_SPACE, _WIDTH = 64, 128


class JointSpace(nn.Module):
    """Embeds images and captions as unit vectors of one space.

    `key` names the space, its training data and weights, for reports.
    """

    key: str

    def images(self, x: Tensor) -> Tensor:
        """Unit vectors of uint8 images of shape (b, c, h, w), shape (b, d)."""
        raise NotImplementedError

    def captions(self, captions: Sequence[str]) -> Tensor:
        """Unit vectors of captions, shape (b, d)."""
        raise NotImplementedError


class CLIP(JointSpace):
    """CLIP (Radford et al. 2021) of the transformers library; needs the extra `realuid[text]`.

    Images are resized to the network's size (bicubic, antialiased), cropped in the centre and normalised with the mean
    and standard deviation of CLIP's training.

    Args:
        source: a local folder, or an id on the Hub, for instance openai/clip-vit-base-patch32.

    Raises:
        ConfigError: where it cannot be loaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, source: str | Path):
        super().__init__()
        try:
            from transformers import AutoTokenizer, CLIPModel

            self.network = CLIPModel.from_pretrained(source).eval().requires_grad_(False)
            self.tokenizer = AutoTokenizer.from_pretrained(source)
        except (ImportError, OSError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(
                f"no CLIP model can be loaded from '{source}' ({reason}). Pass a folder or Hub id that transformers "
                "reads as CLIPModel, and pip install 'realuid[text]'."
            ) from error
        self.side = int(self.network.config.vision_config.image_size)
        self.register_buffer("mean", torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None], persistent=False)
        self.key = f"clip-{Path(source).name}"

    @torch.no_grad()
    def images(self, x: Tensor) -> Tensor:
        x = x.float().expand(-1, 3, -1, -1)
        scale = self.side / min(x.shape[-2:])
        size = [round(side * scale) for side in x.shape[-2:]]
        x = F.interpolate(x, size=size, mode="bicubic", antialias=True).clamp(0, 255) / 255
        top, left = ((side - self.side) // 2 for side in size)
        x = x[..., top : top + self.side, left : left + self.side]
        return F.normalize(self.network.get_image_features((x - self.mean) / self.std).pooler_output, dim=1)

    @torch.no_grad()
    def captions(self, captions: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(captions), padding=True, truncation=True, return_tensors="pt").to(self.mean.device)
        return F.normalize(self.network.get_text_features(**tokens).pooler_output, dim=1)


class SmallSpace(JointSpace):
    """A convolutional image tower and one transformer layer on top of a prompt encoder's embeddings.

    Args:
        shape: (c, h, w) of images.
        encoder: of captions.
        width: of the encoder's embeddings.
        key: see `JointSpace`.
    """

    def __init__(self, shape: tuple[int, ...], encoder: PromptEncoder, width: int, key: str = ""):
        super().__init__()
        self.encoder, self.key = encoder, key
        self.image_tower = Classifier(shape, _SPACE, num_features=_WIDTH)
        self.into = nn.Linear(width, _WIDTH)
        self.layer = nn.TransformerEncoderLayer(_WIDTH, 4, 2 * _WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(_WIDTH, _SPACE)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def images(self, x: Tensor) -> Tensor:
        return F.normalize(self.image_tower.logits(x), dim=1)

    def captions(self, captions: Sequence[str]) -> Tensor:
        device = self.log_scale.device
        return self.texts(encode_prompts(captions, self.encoder).to(device))

    def texts(self, condition: Condition) -> Tensor:
        """Unit vectors of encoded captions, shape (b, d)."""
        text = condition[TEXT].float()
        mask = condition.get(TEXT_MASK, torch.ones(text.shape[:2], dtype=torch.bool, device=text.device))
        found = self.layer(self.into(text), src_key_padding_mask=~mask)
        return F.normalize(self.out((found * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)), dim=1)


def small_space(data: Dataset, encoder: PromptEncoder, seed: int = 0) -> SmallSpace:
    """The small space of captioned images: read from the cache, or trained now and cached.

    Args:
        data: uint8 images with captions.
        encoder: of captions.
        seed: of weights and batches.

    Raises:
        DataError: for data without captions, or of one caption only.
    """
    if len(set(data.captions)) < 2 or None in data.captions:
        raise DataError(f"'{data.name}' has no captions to tell apart: images and captions cannot be compared.")
    key = f"joint{_VERSION}-{data.fingerprint()}-{encoder.fingerprint}-{seed}"
    weights = read_cached(key)
    if weights is None:
        model = train_small_space(data, encoder, seed)
        write_cached(key, model.state_dict())
    else:
        model = SmallSpace(data.shape, encoder, weights["into.weight"].shape[1])
        model.load_state_dict(weights)
    model.key = key
    return model.eval().requires_grad_(False)


def train_small_space(
    data: Dataset, encoder: PromptEncoder, seed: int = 0, updates: int = 1500, batch: int = 256
) -> SmallSpace:
    """Train by the symmetric contrastive loss of CLIP, in which all images of one caption are positives."""
    captions, rows = distinct(complete(data.captions, data.name))
    numbers, texts = torch.tensor(rows), encode_prompts(captions, encoder)
    with seeded(mix(seed, "joint space")):
        model = SmallSpace(data.shape, encoder, texts[TEXT].shape[-1])
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=updates)
        random = stream(seed, "joint space batches")
        for _ in range(updates):
            index = torch.randint(len(data), (batch,), generator=random)
            x = to_float(data.values[index])
            image = model.image_tower.head(model.image_tower.body(x + 0.05 * torch.randn_like(x)))
            wanted = numbers[index]
            text = model.texts(texts.select(wanted))
            logits = model.log_scale.exp().clamp(max=100) * F.normalize(image, dim=1) @ text.mT
            same = (wanted[:, None] == wanted).float()
            same = same / same.sum(1, keepdim=True)
            optimizer.zero_grad()
            ((F.cross_entropy(logits, same) + F.cross_entropy(logits.mT, same)) / 2).backward()
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)
