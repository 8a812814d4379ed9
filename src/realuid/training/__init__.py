"""Training of teachers and distillation of students: pure losses, one loop, checkpoints."""

from __future__ import annotations

from realuid.training.config import DistillConfig, LoopConfig, TeacherConfig
from realuid.training.distill import DistillTask, distill_teacher
from realuid.training.ema import EMA
from realuid.training.teacher import TeacherTask, train_teacher

__all__ = [
    "EMA",
    "DistillConfig",
    "DistillTask",
    "LoopConfig",
    "TeacherConfig",
    "TeacherTask",
    "distill_teacher",
    "train_teacher",
]
