"""Loading models: ours, and other people's."""

from __future__ import annotations

from realuid.teachers.load import load_generator, load_model, load_teacher, model_folder

__all__ = ["load_generator", "load_model", "load_teacher", "model_folder"]
