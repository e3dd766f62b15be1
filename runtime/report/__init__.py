"""One self-contained HTML page about a run: how scores are spread, the worst and the best pictures, what failed."""

from __future__ import annotations

from lifeiqa.runtime.report.builder import ReportBuilder
from lifeiqa.runtime.report.quality_map import quality_map

__all__ = ["ReportBuilder", "quality_map"]
