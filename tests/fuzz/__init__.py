"""Damaged and hostile files for every reader, and a watch over what reading them does."""

from __future__ import annotations

from fuzz import containers, data, exports, models, prompted, texts
from fuzz.harness import Fuzzer

#: Reader -> an endless series of damaged files for it.
READERS: dict[str, Fuzzer] = {
    "pickles": models.pickles,
    "folders": models.folders,
    "diffusers": models.diffusers,
    "settings": models.settings,
    "diffusers_settings": models.diffusers_settings,
    "autoencoders": models.autoencoders,
    "torch": containers.torch_files,
    "safetensors": containers.safetensors_files,
    "checksums": containers.checksums,
    "specials": containers.specials,
    "zips": data.zips,
    "tars": data.tars,
    "images": data.images,
    "listings": data.listings,
    "arrow": data.arrow,
    "metadata": data.metadata,
    "recipes": texts.recipes,
    "runs": texts.runs,
    "programs": exports.programs,
    "contracts": exports.contracts,
    "onnx": exports.graphs,
    "prompted": prompted.prompted,
    "encoders": prompted.encoders,
    "adapters": prompted.adapters,
    "captions": prompted.captions,
}
