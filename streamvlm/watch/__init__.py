"""Standing questions: from the scores of looks to alerts that begin and end once."""

from __future__ import annotations

from streamvlm.watch.background import Background
from streamvlm.watch.decision import Decision, Holding, Judged
from streamvlm.watch.lifecycle import Alert, AlertState, Watch
from streamvlm.watch.rules import AlertRule, Schedule, Severity

__all__ = [
    "Alert",
    "AlertRule",
    "AlertState",
    "Background",
    "Decision",
    "Holding",
    "Judged",
    "Schedule",
    "Severity",
    "Watch",
]
