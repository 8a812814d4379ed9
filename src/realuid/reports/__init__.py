"""Plots, sample grids and the HTML report."""

from __future__ import annotations

from realuid.reports.report import write_report

__all__ = ["write_report"]
