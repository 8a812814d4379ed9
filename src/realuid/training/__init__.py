"""Training of teachers and distillation of students: pure losses, one loop, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realuid.lazy import on_first_use

if TYPE_CHECKING:
    from realuid.training.config import DistillConfig, LoopConfig, TeacherConfig, fine_tuning
    from realuid.training.distill import DistillTask, distill_teacher
    from realuid.training.ema import EMA
    from realuid.training.start import load_fake, load_start
    from realuid.training.teacher import TeacherTask, train_teacher

__getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "EMA",
    "DistillConfig",
    "DistillTask",
    "LoopConfig",
    "TeacherConfig",
    "TeacherTask",
    "distill_teacher",
    "fine_tuning",
    "load_fake",
    "load_start",
    "train_teacher",
]
