"""Export of students to other formats: writing, reading back, comparison, and upload to the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realuid.lazy import on_first_use

if TYPE_CHECKING:
    from realuid.exports.contract import Contract
    from realuid.exports.export import Export, export_student
    from realuid.exports.formats import FORMATS
    from realuid.exports.hub import push_to_hub
    from realuid.exports.options import ExportOptions, FormatName
    from realuid.exports.read import is_exported, load_any, load_student
    from realuid.exports.student import ExportedStudent

__getattr__, __dir__ = on_first_use(__name__)

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
