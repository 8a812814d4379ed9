"""Joint spaces of images and captions, in which similarity is a cosine: CLIP, or small ones trained on the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realuid.data import Dataset, to_float
from realuid.data.captions import complete
from realuid.errors import ConfigError, DataError
from realuid.metrics.cache import read_cached, write_cached
from realuid.metrics.features import Classifier, FeatureExtractor
from realuid.models.networks.condition import Condition
from realuid.models.prompts import TEXT, TEXT_MASK, PromptEncoder
from realuid.on_data.prompts import distinct, encode_prompts
from realuid.progress import track
from realuid.reading import blamed
from realuid.seeds import mix, seeded, stream

#: Part of the cache's keys; to be raised when the small space or its training changes.
_VERSION = 2
#: Width of the small space and of its text tower.
_SPACE, _WIDTH = 64, 128
#: Images whose features are extracted at a time.
_FEATURES = 64


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

            with blamed(f"no CLIP model can be loaded from '{source}'", (ImportError, OSError, ValueError)):
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
        with blamed("captions cannot be read by the tokenizer of CLIP"):
            tokens = self.tokenizer(list(captions), padding=True, truncation=True, return_tensors="pt")
            tokens = tokens.to(self.mean.device)
        return F.normalize(self.network.get_text_features(**tokens).pooler_output, dim=1)


class ImageTower(nn.Module):
    """From uint8 images to vectors of the space: numbers are read from the images, and a network learns from these.

    Attributes:
        noise: standard deviation of what is added to the numbers in training.
        updates: of the training.
    """

    noise: float
    updates: int
    body: nn.Module
    head: nn.Module

    def read(self, x: Tensor) -> Tensor:
        """The numbers of uint8 images, shape (b, c, h, w)."""
        raise NotImplementedError

    def forward(self, numbers: Tensor) -> Tensor:
        """Vectors, not of unit length, shape (b, d)."""
        return self.head(self.body(numbers))


class OnPixels(ImageTower):
    """A convolutional network.

    Args:
        shape: (c, h, w) of images.
    """

    noise, updates = 0.05, 1500

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        network = Classifier(shape, _SPACE, num_features=_WIDTH)
        self.body, self.head = network.body, network.head

    def read(self, x: Tensor) -> Tensor:
        return to_float(x)


class OnFeatures(ImageTower):
    """Two layers on the features of a frozen extractor, which see what a network learned from many more images.

    Args:
        extractor: of the features.
        known: features of training images, shape (n, num_features), whose mean and standard deviation become 0 and 1.
    """

    noise, updates = 0.5, 500
    mean: Tensor
    std: Tensor

    def __init__(self, extractor: FeatureExtractor, known: Tensor | None = None):
        super().__init__()
        self.extractor, width = extractor, extractor.num_features
        self.body = nn.Sequential(nn.Linear(width, _WIDTH), nn.GELU())
        self.head = nn.Linear(_WIDTH, _SPACE)
        known = torch.tensor([[-1.0], [1.0]]).expand(-1, width) if known is None else known
        self.register_buffer("mean", known.mean(0))
        self.register_buffer("std", known.std(0, correction=0).clamp(min=1e-6))

    def read(self, x: Tensor) -> Tensor:
        return self.normal(extracted(self.extractor, x.split(_FEATURES)))

    def normal(self, features: Tensor) -> Tensor:
        """Features with the mean and standard deviation of the training images taken out."""
        return (features - self.mean) / self.std


@torch.no_grad()
def extracted(extractor: FeatureExtractor, batches: Iterable[Tensor]) -> Tensor:
    """Features of batches of uint8 images, shape (n, num_features)."""
    return torch.cat([extractor(x) for x in batches])


class SmallSpace(JointSpace):
    """An image tower, and one transformer layer on top of a prompt encoder's embeddings.

    Args:
        image_tower: of images.
        encoder: of captions.
        width: of the encoder's embeddings.
        key: see `JointSpace`.
    """

    def __init__(self, image_tower: ImageTower, encoder: PromptEncoder, width: int, key: str = ""):
        super().__init__()
        self.encoder, self.key = encoder, key
        self.image_tower = image_tower
        self.into = nn.Linear(width, _WIDTH)
        self.layer = nn.TransformerEncoderLayer(_WIDTH, 4, 2 * _WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(_WIDTH, _SPACE)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def images(self, x: Tensor) -> Tensor:
        return F.normalize(self.image_tower(self.image_tower.read(x)), dim=1)

    def captions(self, captions: Sequence[str]) -> Tensor:
        device = self.log_scale.device
        return self.texts(encode_prompts(captions, self.encoder).to(device))

    def texts(self, condition: Condition) -> Tensor:
        """Unit vectors of encoded captions, shape (b, d)."""
        text = condition[TEXT].float()
        mask = condition.get(TEXT_MASK, torch.ones(text.shape[:2], dtype=torch.bool, device=text.device))
        found = self.layer(self.into(text), src_key_padding_mask=~mask)
        return F.normalize(self.out((found * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)), dim=1)


def small_space(
    data: Dataset, encoder: PromptEncoder, seed: int = 0, extractor: FeatureExtractor | None = None
) -> SmallSpace:
    """The small space of captioned images: read from the cache, or trained now and cached.

    Args:
        data: uint8 images with captions.
        encoder: of captions.
        seed: of weights and batches.
        extractor: of features of images that the space is trained on; None: on the images.

    Raises:
        DataError: for data without captions, or of one caption only.
    """
    if len(set(data.captions)) < 2 or None in data.captions:
        raise DataError(f"'{data.name}' has no captions to tell apart: images and captions cannot be compared.")
    on = "" if extractor is None else f"-{extractor.key}"
    key = f"joint{_VERSION}-{data.fingerprint()}-{encoder.fingerprint}-{seed}{on}"
    weights = read_cached(key)
    if weights is None:
        model = train_small_space(data, encoder, seed, extractor=extractor)
        write_cached(key, model.state_dict())
    else:
        tower = OnPixels(data.shape) if extractor is None else OnFeatures(extractor)
        model = SmallSpace(tower, encoder, weights["into.weight"].shape[1])
        model.load_state_dict(weights)
    model.key = key
    return model.eval().requires_grad_(False)


def train_small_space(
    data: Dataset,
    encoder: PromptEncoder,
    seed: int = 0,
    updates: int | None = None,
    batch: int = 256,
    extractor: FeatureExtractor | None = None,
) -> SmallSpace:
    """Train by the symmetric contrastive loss of CLIP, in which all images of one caption are positives."""
    captions, rows = distinct(complete(data.captions, data.name))
    numbers, texts = torch.tensor(rows), encode_prompts(captions, encoder)
    with seeded(mix(seed, "joint space")):
        tower, read = _tower(data, extractor)
        model = SmallSpace(tower, encoder, texts[TEXT].shape[-1])
        updates = updates or tower.updates
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=updates)
        random = stream(seed, "joint space batches")
        for _ in track(range(updates), "training the joint space", updates):
            index = torch.randint(len(data), (batch,), generator=random)
            x = read(index)
            image = tower(x + tower.noise * torch.randn_like(x))
            wanted = numbers[index]
            different, places = wanted.unique(return_inverse=True)  # each caption is read once
            text = model.texts(texts.select(different))[places]
            logits = model.log_scale.exp().clamp(max=100) * F.normalize(image, dim=1) @ text.mT
            same = (wanted[:, None] == wanted).float()
            same = same / same.sum(1, keepdim=True)
            optimizer.zero_grad()
            ((F.cross_entropy(logits, same) + F.cross_entropy(logits.mT, same)) / 2).backward()
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)


def _tower(data: Dataset, extractor: FeatureExtractor | None) -> tuple[ImageTower, Callable[[Tensor], Tensor]]:
    """The image tower, and what it reads of images by their place in the data; features are extracted once."""
    if extractor is None:
        pixels = OnPixels(data.shape)
        return pixels, lambda index: pixels.read(data.values[index])
    parts = torch.arange(len(data)).split(_FEATURES)
    known = extracted(extractor, (data.values[part] for part in track(parts, "reading features", len(parts))))
    tower = OnFeatures(extractor, known)
    return tower, lambda index: tower.normal(known[index])
