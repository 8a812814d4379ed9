"""Degradations of uint8 images, which produce the sources of restoration pairs at the same size.

Each is a function (images, truth, seed) -> sources on uint8, shape (n, c, h, w). Random degradations seed each image by
(seed, pixels of its truth): they depend neither on the order nor on the other images of a data set, and new images get
new degradations.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from realuid.errors import DataError, unknown_name
from realuid.seeds import stream

Degradation = Callable[[Tensor, Tensor, int], Tensor]

#: The level of missing pixels: about 0 in data units.
MISSING = 128
#: Luma of ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)


def degrade(images: Tensor, name: str, seed: int = 0, truth: Tensor | None = None) -> Tensor:
    """Degraded images.

    Args:
        images: uint8, shape (n, c, h, w).
        name: in `DEGRADATIONS`.
        seed: of those in `DRAWING`; the others do not read it.
        truth: images whose draws are used, like `images`; by default these themselves. Restored images
            are degraded as their truth was.

    Returns:
        uint8, shape (n, c, h, w).

    Raises:
        DataError: for an unknown name, or images that it is not made for.
    """
    if name not in DEGRADATIONS:
        raise DataError(unknown_name("degradation", name, DEGRADATIONS))
    pieces = zip(images.split(1000), (images if truth is None else truth).split(1000), strict=True)
    return torch.cat([DEGRADATIONS[name](x, x_0, seed) for x, x_0 in pieces])


def _to_uint8(levels: Tensor) -> Tensor:
    return levels.round().clamp(0, 255).to(torch.uint8)


def shrink(images: Tensor, factor: int, mode: str) -> Tensor:
    """Smaller images: 'box' means of factor x factor pixels, or 'bicubic' with antialiasing (Keys, a = -1/2).

    Returns:
        uint8, shape (n, c, h / factor, w / factor).
    """
    height, width = images.shape[-2:]
    if height % factor or width % factor:
        raise DataError(f"images of {width}x{height} cannot be made {factor} times smaller: not a multiple.")
    if mode == "box":
        return _to_uint8(F.avg_pool2d(images.double(), factor))
    size = (height // factor, width // factor)
    return _to_uint8(F.interpolate(images.double(), size=size, mode="bicubic", antialias=True, align_corners=False))


def _super_resolution(images: Tensor, truth: Tensor, seed: int, factor: int, mode: str) -> Tensor:
    """Shrunk, and enlarged again by repeating pixels (I2SB)."""
    small = shrink(images, factor, mode)
    return small.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def _centre(images: Tensor, truth: Tensor, seed: int) -> Tensor:
    """The central square of half the side is missing."""
    height, width = images.shape[-2:]
    sources = images.clone()
    top, left = height // 4, width // 4
    sources[..., top : top + height // 2, left : left + width // 2] = MISSING
    return sources


def _free_form(images: Tensor, truth: Tensor, seed: int) -> Tensor:
    """Brush strokes are missing (after Yu et al. 2019), other ones in every image."""
    height, width = images.shape[-2:]
    masks = np.stack([_strokes(height, width, stream(seed, "free form", _digest(x))) for x in truth])
    return images.masked_fill(torch.from_numpy(masks)[:, None].to(images.device), MISSING)


def _digest(pixels: Tensor) -> str:
    """The same for the same image, on any device."""
    return hashlib.blake2b(pixels.contiguous().cpu().numpy().tobytes(), digest_size=16).hexdigest()


def _strokes(height: int, width: int, random: torch.Generator) -> np.ndarray:
    """Three strokes of four segments, an eighth of the side wide; bool, shape (height, width)."""
    mask, side = Image.new("1", (width, height)), min(height, width)
    draw, brush = ImageDraw.Draw(mask), max(1, side // 8)
    for _ in range(3):
        x, y, angle = (torch.rand(3, generator=random) * torch.tensor([width, height, 2 * math.pi])).tolist()
        points = [(x, y)]
        for turn, length in torch.rand(4, 2, generator=random).tolist():
            angle += 2 * turn - 1
            x, y = (
                min(max(value + direction * side * (1 + length) / 8, 0), limit - 1)
                for value, direction, limit in ((x, math.cos(angle), width), (y, math.sin(angle), height))
            )
            points.append((x, y))
        draw.line(points, fill=1, width=brush, joint="curve")
    return np.array(mask)


def _jpeg(images: Tensor, truth: Tensor, seed: int, quality: int) -> Tensor:
    """Compressed to JPEG at a quality of pillow's, and read back."""
    sources = [_through_jpeg(pixels, quality) for pixels in images.permute(0, 2, 3, 1).cpu().numpy()]
    return torch.from_numpy(np.stack(sources)).permute(0, 3, 1, 2).contiguous().to(images.device)


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    grey = pixels.shape[-1] == 1
    Image.fromarray(pixels[..., 0] if grey else pixels).save(buffer, format="JPEG", quality=quality)
    with Image.open(buffer) as image:
        decoded = np.array(image)
    return decoded[..., None] if grey else decoded


def _blur(images: Tensor, truth: Tensor, seed: int, sigma: float) -> Tensor:
    """Convolved with a Gaussian of standard deviation sigma pixels, cut at 3 sigma; borders are mirrored."""
    reach = math.ceil(3 * sigma)
    height, width = images.shape[-2:]
    if reach >= min(height, width):
        raise DataError(f"images of {width}x{height} are too small for a blur of {sigma:g} pixels.")
    taps = torch.exp(-(torch.arange(-reach, reach + 1, dtype=torch.float64) ** 2) / (2 * sigma**2)).to(images.device)
    taps = taps / taps.sum()
    x = F.pad(images.double(), (reach,) * 4, mode="reflect").flatten(0, 1)[:, None]
    x = F.conv2d(F.conv2d(x, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))
    return _to_uint8(x.view(images.shape))


def _grey(images: Tensor, truth: Tensor, seed: int) -> Tensor:
    """Without colour: luma in all three channels."""
    if images.shape[1] != 3:
        raise DataError(f"'grey' takes the colour from RGB images, but these have {images.shape[1]} channel(s).")
    luma = (images.double() * torch.tensor(_LUMA, dtype=torch.float64, device=images.device).view(1, 3, 1, 1)).sum(1)
    return _to_uint8(luma)[:, None].expand(-1, 3, -1, -1).contiguous()


#: Number at the end: factor of super-resolution, JPEG quality, or blur in pixels.
DEGRADATIONS: dict[str, Degradation] = {
    **{
        f"sr-{mode}-{factor}": partial(_super_resolution, factor=factor, mode=mode)
        for mode in ("box", "bicubic")
        for factor in (2, 4)
    },
    "inpaint-centre": _centre,
    "inpaint-freeform": _free_form,
    **{f"jpeg-{quality}": partial(_jpeg, quality=quality) for quality in (5, 10)},
    **{f"blur-{sigma}": partial(_blur, sigma=float(sigma)) for sigma in (1, 2)},
    "grey": _grey,
}
#: Those that draw at random, and read the seed.
DRAWING = ("inpaint-freeform",)
