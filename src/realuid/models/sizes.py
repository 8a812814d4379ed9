"""Images of other sizes: denoisers of pipelines work on any that their blocks can divide, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from realuid.errors import CheckpointError, ConfigError
from realuid.models.codec import Codec
from realuid.models.matching import MatchingModel
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.student import Student


def resize(model: MatchingModel | Student, size: tuple[int, ...]) -> None:
    """Let the denoiser of a text-to-image pipeline make images of another size.

    Args:
        model: whose network is changed; its weights are not.
        size: height and width in pixels; of videos frames, height and width.

    Raises:
        ConfigError: for a network of one size, or a size that the autoencoder or the denoiser cannot make.
    """
    matching = model.model if isinstance(model, Student) else model
    own, network, size = matching.image_shape[1:], matching.network, check_size(size)
    if size == own:
        return
    if not isinstance(network, PromptNetwork):
        makes = f"makes images of one size, {_shown(own)}" if own else "makes points, which have no size"
        raise ConfigError(f"size = {_shown(size)}: the model {makes}. Leave size out.")
    shape = shape_at(network.shape, size, matching.codec)
    with blamed_on_size(size, matching.codec):
        network.resize(shape)


def check_size(size: tuple[int, ...]) -> tuple[int, ...]:
    """The size, if it is two or three positive whole numbers.

    Raises:
        ConfigError: otherwise.
    """
    numbers = isinstance(size, tuple | list)
    if not numbers or not 2 <= len(size) <= 3 or any(type(n) is not int or n < 1 for n in size):
        shown = _shown(size) if numbers else str(size)
        raise ConfigError(
            f"size = {shown[:100]}: allowed are positive whole numbers, height and width (of videos frames first)."
        )
    return tuple(size)


def shape_at(shape: tuple[int, ...], size: tuple[int, ...], codec: Codec | None) -> tuple[int, ...]:
    """Shape of a sample, given that of one of another size.

    Raises:
        ConfigError: for the size of a video where samples are images, or the reverse, or one the codec cannot make.
    """
    if len(size) != len(shape) - 1:
        kind = "three numbers: frames, height and width" if len(shape) == 4 else "two numbers: height and width"
        raise ConfigError(f"size = {_shown(size)}: needed are {kind}.")
    return (shape[0], *(codec.latent_size(size) if codec else size))


@contextmanager
def blamed_on_size(size: tuple[int, ...] | None, codec: Codec | None) -> Iterator[None]:
    """Report a denoiser that cannot be called as the fault of the size, where one was asked for.

    Raises:
        ConfigError: for a CheckpointError inside.
    """
    try:
        yield
    except CheckpointError as error:
        if size is None:
            raise
        raise ConfigError(
            f"size = {_shown(size)}: the denoiser cannot make it ({error}). Most can make sides that are multiples of "
            f"{8 * (codec.factor if codec else 1)}, if they are not too long."
        ) from error


def _shown(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
