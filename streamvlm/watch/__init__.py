"""Watch: the scores of looks become alerts that begin once and end once."""

from streamvlm.watch.background import Background
from streamvlm.watch.decision import Decision, Holding, Judged
from streamvlm.watch.lifecycle import Watch

__all__ = ["Background", "Decision", "Holding", "Judged", "Watch"]
