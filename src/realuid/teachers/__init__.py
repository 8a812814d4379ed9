"""Loading models: ours, and other people's."""

from __future__ import annotations

from realuid.teachers.edm import load_edm_pickle, load_edm_student
from realuid.teachers.load import load_generator, load_model, load_teacher, model_folder

__all__ = ["load_edm_pickle", "load_edm_student", "load_generator", "load_model", "load_teacher", "model_folder"]
