"""The monitor of a run: after every evaluation it reads the log, writes what it finds and warns of what is new."""

from __future__ import annotations

import warnings
from pathlib import Path

from realuid.reading import read_jsonl
from realuid.training.health.findings import Facts, Finding, diagnose, read_findings, write_findings


class HealthWarning(UserWarning):
    """A run is not well."""


class Monitor:
    """Judges a run by its log.

    Args:
        metrics: path of metrics.jsonl.
        file: path of health.json, which holds what is wrong at the moment.
        facts: of the run.
    """

    def __init__(self, metrics: Path, file: Path, facts: Facts):
        self.metrics, self.file, self.facts = metrics, file, facts

    def look(self) -> list[Finding]:
        """Write what is wrong now; causes that were not found at the last look are a `HealthWarning`, too."""
        known = {finding.cause for finding in read_findings(self.file)}
        found = diagnose(read_jsonl(self.metrics), self.facts)
        write_findings(self.file, found)
        for finding in found:
            if finding.cause not in known:
                warnings.warn(f"{finding.title}: {finding.text} {finding.advice}", HealthWarning, stacklevel=2)
        return found
