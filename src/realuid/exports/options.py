"""Options of an export."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from realuid.errors import ConfigError

FormatName = Literal["diffusers", "lora", "space", "onnx", "torch", "safetensors", "authors"]
#: What an exported file of a student of several calls holds: all of them, or one with its time as an input.
Graph = Literal["whole", "call"]
Precision = Literal["fp32", "fp16", "int8"]

_LICENCE = re.compile(r"[a-zA-Z0-9][\w.+-]{0,99}")


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export."""

    #: Output images as uint8 instead of float32 in [-1, 1] (onnx, torch).
    uint8: bool = False
    #: Graph of a student of several calls: all calls (whole), or one call with its time as an input, together with the
    #: coefficients between calls (onnx, torch).
    graph: Graph = "whole"
    #: Precision of an ONNX file; the FD before and after is computed if data is given.
    precision: Precision = "fp32"
    #: Licence for the model card, by its identifier on the Hub: apache-2.0, cc-by-nc-4.0, ...
    licence: str = ""
    #: EMA decay of the weights in the authors' checkpoint (authors).
    ema_key: str = "0.999"

    def check(self, to: str) -> None:
        """Raise ConfigError for options that the format does not have."""
        programs = ("onnx", "torch")
        homes = {"uint8": programs, "graph": programs, "precision": ("onnx",)}
        homes |= {"licence": ("diffusers", "lora", "space"), "ema_key": ("authors",)}
        for name, formats in homes.items():
            value = getattr(self, name)
            if name == "licence" and value and not _LICENCE.fullmatch(value):
                raise ConfigError(f"licence = {value[:100]} is no identifier of a licence, such as apache-2.0.")
            if value != getattr(ExportOptions(), name) and to not in formats:
                raise ConfigError(f"{name} = {value}: only for {' and '.join(formats)}, not for {to}.")
        if self.uint8 and self.graph == "call":
            raise ConfigError("uint8 = True with graph = call: later calls need the exact prediction. Leave one out.")
