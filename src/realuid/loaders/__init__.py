"""Loading models of realuid and of other libraries, one file per family; writing other libraries' layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realuid.lazy import on_first_use

if TYPE_CHECKING:
    from realuid.loaders.diffusers_folder import load_diffusers
    from realuid.loaders.edm import load_edm_pickle, load_edm_student
    from realuid.loaders.formats import FORMATS, is_model, local_path, model_folder, recognise
    from realuid.loaders.load import load_generator, load_model, load_teacher
    from realuid.loaders.options import ADMOptions
    from realuid.loaders.prompts import load_prompt_encoder
    from realuid.loaders.torchcfm import (
        load_torchcfm,
        load_torchcfm_fake,
        load_torchcfm_student,
        save_torchcfm_student,
        save_torchcfm_teacher,
    )
    from realuid.models.saving.torch_file import read_torch_file

__getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "FORMATS",
    "ADMOptions",
    "is_model",
    "load_diffusers",
    "load_edm_pickle",
    "load_edm_student",
    "load_generator",
    "load_model",
    "load_prompt_encoder",
    "load_teacher",
    "load_torchcfm",
    "load_torchcfm_fake",
    "load_torchcfm_student",
    "local_path",
    "model_folder",
    "read_torch_file",
    "recognise",
    "save_torchcfm_student",
    "save_torchcfm_teacher",
]
