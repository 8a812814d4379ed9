"""Images of other sizes: networks that work on any have one at a time."""

from __future__ import annotations

from realuid.errors import ConfigError
from realuid.models.matching import MatchingModel
from realuid.models.networks.prompted import PromptNetwork


def resize(model: MatchingModel, size: tuple[int, ...]) -> None:
    """Let the denoiser of a text-to-image pipeline make images of another size.

    Args:
        model: whose network is changed; its weights are not.
        size: height and width in pixels; of videos frames, height and width.

    Raises:
        ConfigError: for another network, and sizes that its autoencoder cannot make.
        CheckpointError: for sizes that its denoiser cannot.
    """
    network, shown = model.network, " x ".join(map(str, size))[:100]
    if not isinstance(network, PromptNetwork):
        own = " x ".join(map(str, model.image_shape[1:])) or "points"
        raise ConfigError(f"size = {shown}: the model makes images of one size, {own}. Leave size out.")
    if len(size) != len(network.shape) - 1 or not all(type(side) is int and side > 0 for side in size):
        kind = "frames, height and width" if len(network.shape) > 3 else "height and width"
        raise ConfigError(f"size = {shown}: allowed are positive whole numbers, {kind}.")
    network.resize((network.shape[0], *(model.codec.latent_size(size) if model.codec else size)))
