"""What every exported format promises: which inputs it takes, what comes out, and where it came from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from realuid.errors import CheckpointError
from realuid.models import Generator
from realuid.models.saving.folder import describe

#: Name of the contract's JSON inside an exported file or folder.
ABOUT = "realuid.json"


@dataclass(frozen=True)
class Contract:
    """Inputs and output of an exported generator.

    `noise`: standard normal, float32, shape (b, *shape). `labels`: int64, shape (b,), where there are classes. `x_T`:
    source images in data units, float32, shape (b, *shape), on coupled paths. `images`: shape (b, *image_shape),
    float32 in data units ([-1, 1] for images, not clamped), or uint8.

    Attributes:
        shape: of one sample's noise.
        image_shape: of one image; another one where the network makes latents, which the file decodes itself.
        num_classes: 0 where unconditional.
        coupled: whether it takes x_T.
        uint8: whether images leave as uint8.
        about: the model's description and whatever else is known of it, JSON-ready.
    """

    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    num_classes: int = 0
    coupled: bool = False
    uint8: bool = False
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, generator: Generator, uint8: bool = False, /, **about: Any) -> Contract:
        """The contract of a generator; `about` adds to its description."""
        model = generator.model
        described = {**about, **describe(generator)}
        return cls(model.shape, model.image_shape, model.num_classes, model.path.coupled, uint8, described)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return ("noise", *(["labels"] if self.num_classes else []), *(["x_T"] if self.coupled else []))

    def example(self, batch: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Random inputs, in order."""
        random = torch.Generator().manual_seed(seed)
        values = {
            "noise": torch.randn(batch, *self.shape, generator=random),
            "labels": torch.randint(max(self.num_classes, 1), (batch,), generator=random),
            "x_T": torch.randn(batch, *self.shape, generator=random).clamp(-1, 1),
        }
        return tuple(values[name] for name in self.inputs)

    def to_json(self) -> str:
        """As text; `from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, where: str) -> Contract:
        """The contract in a file's text.

        Raises:
            CheckpointError: where there is none, or it is damaged.
        """
        if not text:
            raise CheckpointError(f"'{where}' was not written by `realuid export`: it does not say what it takes.")
        try:
            values = json.loads(text)
            shapes = {name: tuple(int(n) for n in values[name]) for name in ("shape", "image_shape")}
            return cls(**{**values, **shapes})
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"'{where}' is damaged: what it says of itself cannot be read ({error}).") from error
