"""Health of a run: measured with every evaluation, named in plain words, without a draw of the training's streams."""

from __future__ import annotations

from realuid.training.health.findings import Facts, Finding, diagnose, read_findings, write_findings
from realuid.training.health.monitor import HealthWarning, Monitor

__all__ = ["Facts", "Finding", "HealthWarning", "Monitor", "diagnose", "read_findings", "write_findings"]
