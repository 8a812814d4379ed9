"""A matching model: a network with its path, prediction type and preconditioning."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from realuid.errors import ConfigError
from realuid.models.clipping import Clipping
from realuid.models.codec import Codec
from realuid.models.networks.base import Network
from realuid.models.networks.condition import SOURCE, Condition
from realuid.models.networks.specs import ConditionSpec, label_spec, source_spec
from realuid.models.preconditioning import Preconditioning, check_preconditioning, own_preconditioning
from realuid.models.summary import facts, one_line
from realuid.paths import Estimate, Path, check_prediction, heads
from realuid.text import in_html


class MatchingModel(nn.Module):
    """f(x_t, t, condition): the teacher, the fake model and, at fixed times, the student.

    Args:
        network: called as `network(x, time, condition)`.
        path: the conditional path.
        prediction: what the (preconditioned) network predicts; by default the path's own.
        preconditioning: scales of input, output and time; by default the path's own, for most paths x_t and 1000 t.
        codec: decoder of latents to images, if samples are latents.
        null_class: whether the network's last class is the null class (classifier-free guidance).

    Attributes:
        origin: what it was loaded from, as given by the user; empty if it was created here.
        class_names: names of its classes, in order, if they have names.
        class_counts: how often its training data has each class, if known; samples for which no class is given have
            these frequencies.
        clipping: limits of its data predictions in sampling, if its scheduler has some.
        prompts: what reads its prompts: a source for `realuid.loaders.load_prompt_encoder`; '' if unknown.
        degradation: degradation of its source images, a name in `realuid.data.DEGRADATIONS`; '' if unknown.
    """

    def __init__(
        self,
        network: Network,
        path: Path,
        prediction: str | None = None,
        preconditioning: Preconditioning | None = None,
        codec: Codec | None = None,
        null_class: bool = False,
    ):
        super().__init__()
        self.network = network
        self.path, self.null_class = path, null_class
        self.prediction = check_prediction(prediction or path.default_prediction, path)
        self.preconditioning = preconditioning or own_preconditioning(path, self.prediction)
        check_preconditioning(self.preconditioning, self.prediction, path)
        self.codec = codec
        self.origin = ""
        self.degradation = ""
        self.clipping: Clipping | None = None
        self.prompts = ""
        self.class_names: tuple[str, ...] = ()
        self.class_counts: tuple[int, ...] = ()
        self.heads = heads(self.prediction)
        if network.heads != self.heads:
            raise ConfigError(
                f"prediction '{self.prediction}' needs a network of {self.heads} heads, this one has {network.heads}."
            )
        if null_class and network.num_classes < 2:
            raise ConfigError(f"a null class needs a class beside it; the network has {network.num_classes} in all.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.network.shape

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one decoded image (for models on latents), else of one sample."""
        return self.codec.image_shape(self.shape) if self.codec else self.shape

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 if unconditional; the null class is the one after them."""
        return self.network.num_classes - self.null_class

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What it is conditioned on: what the network reads, its null class told from the others, and on a coupled path
        the source x_T, which the path starts from even where the network does not read it.
        """
        specs = self.network.conditions
        if self.null_class:
            label = label_spec(self.num_classes, null=self.num_classes)
            specs = tuple(label if spec.name == label.name else spec for spec in specs)
        if self.coupled and all(spec.name != SOURCE for spec in specs):
            specs = (*specs, source_spec(self.shape))
        return specs

    @property
    def coupled(self) -> bool:
        """Whether it starts from source images x_T."""
        return self.path.coupled

    @property
    def default_sampler(self) -> str:
        """Default sampler: the path's, or one along the velocity if the path's does not apply."""
        told = not self.path.coupled or self.network.sees_source or (self.path.markov and self.prediction != "velocity")
        return self.path.default_sampler if told else "euler"

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return model_device(self)

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self._facts())

    def _repr_html_(self) -> str:
        return in_html(type(self).__name__, self._facts())

    def _facts(self) -> dict[str, str]:
        return facts(self)

    def forward(self, x_t: Tensor, t: Tensor, condition: Condition | None = None, space: str | None = None) -> Tensor:
        """The model's prediction at x_t, converted to `space`.

        Args:
            x_t: point on the path, shape (b, *shape).
            t: times, shape (b,).
            condition: what `conditions` declares.
            space: a name in `realuid.paths.PREDICTIONS`; by default what the model itself predicts.

        Returns:
            shape (b, *shape), in the dtype of x_t.

        Raises:
            PredictionError: if the wanted prediction does not follow from the model's own.
        """
        return self.estimate(x_t, t, condition)[space or self.prediction]

    def estimate(self, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Estimate:
        """One network call and every prediction that follows from it; arguments as in `forward`."""
        condition = condition or Condition()
        k = self.path.coefficients(t).expand(x_t)
        scales = self.preconditioning.scales(k)
        raw = self.network(scales.into * x_t, scales.time.flatten(), condition).to(x_t.dtype)
        skipped = x_t if self.heads == 1 else torch.cat([x_t] * self.heads, dim=1)
        x_T = condition.get(SOURCE) if self.network.sees_source else None
        return Estimate(scales.skip * skipped + scales.out * raw, self.prediction, self.path, k, x_t, x_T)

    def check_space(self, space: str) -> None:
        """Raise PredictionError unless predictions in `space` exist and follow from the model's own."""
        check_prediction(space, self.path)
        x, t = torch.zeros(0, *self.shape), torch.zeros(0)
        value, x_T = torch.cat([x] * self.heads, dim=1), x if self.network.sees_source else None
        Estimate(value, self.prediction, self.path, self.path.coefficients(t).expand(x), x, x_T)[space]


def count_parameters(module: nn.Module) -> int:
    """Number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def fingerprint(module: nn.Module) -> str:
    """Shortened SHA-256 over the names and values of a module's weights."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def model_device(module: nn.Module) -> torch.device:
    """The device of a module's parameters; the CPU if it has none."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))
