"""Respond: a question over recalled memory and the fresh window becomes a streamed answer with
evidence.
"""

from streamvlm.respond.answer import Answering, run_chosen
from streamvlm.respond.attend import most_attended
from streamvlm.respond.look import look
from streamvlm.respond.now import asks_about_now
from streamvlm.respond.probe import first_pass
from streamvlm.respond.prompt import Prompt, assemble
from streamvlm.respond.ready import Ready
from streamvlm.respond.select import SELECTIONS

__all__ = [
    "SELECTIONS",
    "Answering",
    "Prompt",
    "Ready",
    "asks_about_now",
    "assemble",
    "first_pass",
    "look",
    "most_attended",
    "run_chosen",
]
