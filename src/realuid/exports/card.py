"""The model card: what a student is, how it was made and measured, and how to run it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from huggingface_hub import ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from realuid._version import __version__
from realuid.exports.contract import Contract


@dataclass(frozen=True)
class Card:
    """What a card says that the model does not know.

    Attributes:
        name: title.
        location: what users pass to `from_pretrained`: a folder, or owner/name on the Hub.
        licence: identifier as the Hub spells it, such as 'apache-2.0'; empty where it is not stated.
    """

    name: str
    location: str
    licence: str = ""


def model_card(contract: Contract, card: Card, own_code: str | None = None) -> str:
    """The text of README.md for an exported folder.

    Args:
        contract: of the student; its description may hold `distillation`, `teacher`, `data` and `measurement`.
        card: what it says besides.
        own_code: why the pipeline comes with code of its own, or None.
    """
    about = contract.about
    header = ModelCardData(
        license=card.licence or None,
        library_name="diffusers",
        pipeline_tag="unconditional-image-generation",
        tags=["realuid", "one-step", "distillation"],
    )
    environment = Environment(
        loader=PackageLoader("realuid.exports"), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("card.md").render(
        header=header.to_yaml(),
        card=card,
        own_code=own_code,
        figures=about.get("measurement"),
        contract=contract,
        settings=about.get("distillation", {}),
        teacher=about.get("teacher", ""),
        data=about.get("data", {}).get("source", ""),
        description=json.dumps(about, indent=2),
        version=__version__,
    )
