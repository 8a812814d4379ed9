"""Published EDM networks at full size: write a pickle in their layout, load it without running it, denoise once.

python benchmarks/edm_full_size.py

Random weights; needs 4 GB of memory and 1.3 GB of disk. Fails if a parameter count is not the published one or a weight
does not arrive bit by bit.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import edm_layout

from realuid.loaders import load_edm_pickle
from realuid.models import Condition, count_parameters

#: name -> layout, arguments, class in the pickle, number of parameters.
NETWORKS = {
    "DDPM++, CIFAR-10": (edm_layout.song_shapes, edm_layout.DDPMPP_CIFAR, "SongUNet", 55_733_891),
    "NCSN++, CIFAR-10": (edm_layout.song_shapes, edm_layout.NCSNPP_CIFAR, "SongUNet", 56_397_827),
    "ADM, ImageNet-64": (edm_layout.adm_shapes, edm_layout.ADM_IMAGENET, "DhariwalUNet", 295_899_267),
}


@torch.no_grad()
def main() -> None:
    """Print one line a network."""
    for name, (shapes, arguments, network, parameters) in NETWORKS.items():
        weights = edm_layout.random_weights(shapes(arguments))
        with tempfile.TemporaryDirectory() as folder:
            path = edm_layout.write(Path(folder) / "network.pkl", arguments, weights, network=network)
            size, start = path.stat().st_size / 1e9, time.perf_counter()
            model = load_edm_pickle(path)
            loading = time.perf_counter() - start
        state = model.network.state_dict()
        whole = state.keys() == weights.keys() and all(torch.equal(state[key], weights[key]) for key in state)
        if count_parameters(model) != parameters or not whole:
            raise SystemExit(f"{name}: {count_parameters(model):,} parameters, weights equal: {whole}")
        start = time.perf_counter()
        labels = torch.tensor([7]) if model.num_classes else None
        images = model(torch.randn(1, *model.shape), torch.tensor([0.7]), Condition(label=labels))
        seconds = time.perf_counter() - start
        if not images.isfinite().all():
            raise SystemExit(f"{name}: the denoised image is not finite")
        print(
            f"{name}: {parameters:,} parameters, {size:.2f} GB loaded in {loading:.1f} s, one image in {seconds:.2f} s"
        )


if __name__ == "__main__":
    main()
