"""Other people's models: one file per family, read and, where their scripts should run our students, written."""

from __future__ import annotations

from realuid.teachers.adm import ADMOptions
from realuid.teachers.torchcfm import (
    load_torchcfm,
    load_torchcfm_fake,
    load_torchcfm_student,
    save_torchcfm_student,
    save_torchcfm_teacher,
)

__all__ = [
    "ADMOptions",
    "load_torchcfm",
    "load_torchcfm_fake",
    "load_torchcfm_student",
    "save_torchcfm_student",
    "save_torchcfm_teacher",
]
