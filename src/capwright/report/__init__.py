"""Pages for people: one HTML file of a training run, or of scored captions.

A page holds its images, charts and style; it needs no script and no network, follows the reader's light or dark
setting, and the same inputs give the same bytes.
"""

from __future__ import annotations

from capwright.report.run_page import write_report
from capwright.report.score_page import write_score_report

__all__ = ["write_report", "write_score_report"]
