"""Inner products and norms over the elements of one sample; the caller takes the mean over the batch."""

from __future__ import annotations

from torch import Tensor


def inner(u: Tensor, v: Tensor) -> Tensor:
    """<u, v> per sample: (b, *d), (b, *d) -> (b,), in float32 at least, whatever the networks computed in."""
    if u.dtype.itemsize < 4:
        u, v = u.float(), v.float()
    return (u * v).flatten(1).sum(1)


def squared_norm(u: Tensor) -> Tensor:
    """||u||^2 per sample: (b, *d) -> (b,)."""
    return inner(u, u)
