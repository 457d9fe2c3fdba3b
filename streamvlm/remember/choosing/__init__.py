"""Which tokens of the found blocks come back, where a budget does not let them all.

To add a choice: a file here, and its line in the table; the contract test then covers it.
"""

from __future__ import annotations

from streamvlm.remember.choosing.base import Choice, Chosen, FoundTokens, Joined
from streamvlm.remember.choosing.best import Best
from streamvlm.remember.choosing.cdpruner import CDPruner
from streamvlm.remember.choosing.metok import MeTok
from streamvlm.remember.choosing.quota import Quota
from streamvlm.remember.choosing.recoverable import Recoverable
from streamvlm.remember.choosing.vilamp import ViLAMP

__all__ = ["CHOICES", "Choice", "Chosen", "FoundTokens", "Joined"]

CHOICES: dict[str, type[Choice]] = {
    "best": Best,
    "cdpruner": CDPruner,
    "metok": MeTok,
    "quota": Quota,
    "recoverable": Recoverable,
    "vilamp": ViLAMP,
}
"""Every choice by its name in the config."""
