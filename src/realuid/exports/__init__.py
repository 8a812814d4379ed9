"""Export of students to other formats: written, read back, compared, and uploaded to the Hub."""

from __future__ import annotations

from realuid.exports.contract import Contract
from realuid.exports.export import FORMATS, Export, ExportOptions, FormatName, export_student
from realuid.exports.hub import push_to_hub
from realuid.exports.read import is_exported, load_any, load_student
from realuid.exports.student import ExportedStudent

__all__ = [
    "FORMATS",
    "Contract",
    "Export",
    "ExportedStudent",
    "ExportOptions",
    "FormatName",
    "export_student",
    "is_exported",
    "load_any",
    "load_student",
    "push_to_hub",
]
