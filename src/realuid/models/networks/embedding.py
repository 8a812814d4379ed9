"""Where the networks of diffusers embed the time."""

from __future__ import annotations

from diffusers.models.embeddings import TimestepEmbedding
from torch import nn

#: Names of the embedding of the time in U-Nets, transformers and video transformers; others of the class embed sizes,
#: a guidance scale or texts.
_NAMES = ("time_embedding", "timestep_embedder", "time_embedder")


def find_time_embedding(network: nn.Module) -> tuple[nn.Module, int] | None:
    """The module of a network of diffusers that embeds the time for all blocks, and its width.

    None for other networks, and where several blocks embed the time each for itself, as in a DiT.
    """
    found = [
        module
        for name, module in network.named_modules()
        if isinstance(module, TimestepEmbedding) and name.rpartition(".")[2] in _NAMES
    ]
    return (found[0], found[0].linear_2.out_features) if len(found) == 1 else None
