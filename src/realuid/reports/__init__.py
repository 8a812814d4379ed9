"""Plots, sample grids and the HTML report."""

from __future__ import annotations

from realuid.reports.report import SHOWN, write_report

__all__ = ["SHOWN", "write_report"]
