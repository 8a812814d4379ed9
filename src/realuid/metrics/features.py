"""Feature extractors for Frechet and kernel distances."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realuid.data import Dataset, to_float
from realuid.errors import ConfigError, DataError
from realuid.metrics.cache import read_cached, write_cached
from realuid.progress import track
from realuid.seeds import mix, seeded, stream

#: Part of the cache's keys; to be raised when the classifier or its training changes.
_CLASSIFIER_VERSION = 2
#: Images that a classifier can be trained on and tested with.
_FEWEST = 5


class FeatureExtractor(nn.Module):
    """uint8 images, shape (b, c, h, w), or float points, shape (b, d), to features, shape (b, num_features).

    `key` names the extractor, its training data and its weights, for caching and for reports; `distances` are the names
    of the Frechet and the kernel distance in its features.
    """

    num_features: int
    key: str
    distances: tuple[str, str] = ("FD", "KID")

    def forward(self, x: Tensor) -> Tensor:
        """Features, float32."""
        raise NotImplementedError


class Points(FeatureExtractor):
    """Toy data are their own features."""

    def __init__(self, features: int):
        super().__init__()
        self.num_features, self.key = features, "points"

    def forward(self, x: Tensor) -> Tensor:
        return x.float()


class Classifier(FeatureExtractor):
    """A small convolutional classifier; its features are the activations before the last layer.

    They are divided by one number, so that their variance on the training data is 1 on average: distances of different
    classifiers then have a common scale, and the kernel distance's polynomial meets numbers of order one.

    Args:
        shape: (c, h, w) of the images.
        num_classes: number of classes.
        key: see `FeatureExtractor`.
        num_features: width of the feature layer.
    """

    scale: Tensor

    def __init__(self, shape: tuple[int, ...], num_classes: int, key: str = "", num_features: int = 64):
        super().__init__()
        channels, height, width = shape
        halvings = max(1, (min(height, width) // 4).bit_length() - 1)
        layers: list[nn.Module] = [nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU()]
        for i in range(halvings):
            into = 32 if i == 0 else 64
            layers += [nn.Conv2d(into, 64, 3, padding=1, stride=2), nn.ReLU()]
            height, width = (height + 1) // 2, (width + 1) // 2
        layers += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten()]
        layers += [nn.Linear(64 * height * width, num_features), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(num_features, num_classes)
        self.register_buffer("scale", torch.ones(()))
        self.num_features, self.key = num_features, key

    def forward(self, x: Tensor) -> Tensor:
        return self.body(to_float(x)) / self.scale

    def logits(self, x: Tensor) -> Tensor:
        """Class scores, shape (b, num_classes)."""
        return self.head(self.body(to_float(x)))


def tells_classes(data: Dataset) -> bool:
    """Whether a classifier can learn the data's labels: there are at least two classes with images."""
    return data.labels is not None and len(data.labels.unique()) > 1


def _rotated(images: Tensor, quarters: Tensor) -> Tensor:
    """Images turned by quarters, to be told apart: a task without labels (Gidaris et al. 2018).

    Of images that are no squares, the largest square in the middle is turned.
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    turned = images.clone()
    for k in range(4):
        square = images[quarters == k, :, top : top + side, left : left + side]
        turned[quarters == k, :, top : top + side, left : left + side] = torch.rot90(square, k, (-2, -1))
    return turned


def train_classifier(data: Dataset, seed: int = 0, updates: int = 1500, batch: int = 128) -> tuple[Classifier, float]:
    """Train a classifier on labelled images, or on telling rotations apart where there are not two classes.

    Args:
        data: uint8 images.
        seed: of weights, noise and batches.
        updates: AdamW updates, one-cycle schedule.
        batch: images per update.

    Returns:
        the classifier in evaluation mode, and its accuracy on the tenth of the data that it did not see.

    Raises:
        DataError: for fewer images than it takes to train and to test.
    """
    if len(data) < _FEWEST:
        raise DataError(
            f"'{data.name}' has {len(data)} images: a classifier of features needs at least {_FEWEST}. Take more data."
        )
    labelled = tells_classes(data)
    labels = data.column("label")[:] if labelled else torch.arange(len(data)) % 4

    def images(index: Tensor) -> Tensor:
        return data.values[index] if labelled else _rotated(data.values[index], labels[index])

    held_out = max(1, len(data) // 10)
    order = torch.randperm(len(data), generator=stream(seed, "classifier split"))
    test, train = order[:held_out], order[held_out:]
    with seeded(mix(seed, "classifier")):
        model = Classifier(data.shape, int(labels.max()) + 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=updates)
        for _ in track(range(updates), "training features", updates):
            index = train[torch.randint(len(train), (batch,))]
            x = to_float(images(index))
            logits = model.head(model.body(x + 0.1 * torch.randn_like(x)))
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[index]).backward()
            optimizer.step()
            schedule.step()
    model.eval().requires_grad_(False)
    features = torch.cat([model(images(part)) for part in train[:10_000].split(1000)])
    spread = features.var(dim=0).mean().sqrt()
    model.scale.copy_(spread if spread > 0 else torch.ones(()))  # 0 where all images are the same
    hits = torch.cat([model.logits(images(i)).argmax(1) == labels[i] for i in test.split(1000)])
    return model, hits.float().mean().item()


def classifier(data: Dataset, seed: int = 0) -> Classifier:
    """The classifier for a data set: read from the cache, or trained now (about ten seconds for digits) and cached."""
    key = f"classifier{_CLASSIFIER_VERSION}-{data.fingerprint()}-{seed}"
    weights = read_cached(key)
    if weights is not None:
        model = Classifier(data.shape, weights["head.bias"].numel())
        model.load_state_dict(weights)
        model.eval().requires_grad_(False)
    else:
        model, accuracy = train_classifier(data, seed)
        write_cached(key, model.state_dict(), accuracy=f"{accuracy:.4f}")
    model.key = key
    return model


def make_extractor(name: str, data: Dataset, weights: str | None = None) -> FeatureExtractor:
    """The extractor called 'classifier', 'inception' or 'efficientnet' for a data set; toy points get `Points`."""
    if not data.is_image:
        return Points(data.shape[0])
    if name == "classifier":
        return classifier(data)
    from realuid.metrics.pretrained import EfficientNet, Inception

    if name == "inception":
        return Inception(weights)
    if name == "efficientnet":
        return EfficientNet()
    raise ConfigError(f"unknown feature extractor '{name}'. Allowed: classifier, inception, efficientnet.")
