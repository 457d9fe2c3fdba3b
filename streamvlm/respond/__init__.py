"""Respond: a question over recalled memory and the fresh window becomes a streamed answer with
evidence.
"""

from streamvlm.respond.answer import Answering, run_chosen
from streamvlm.respond.attend import most_attended
from streamvlm.respond.look import look
from streamvlm.respond.now import asks_about_now
from streamvlm.respond.probe import probe_of
from streamvlm.respond.prompt import Prompt, assemble
from streamvlm.respond.ready import Ready

__all__ = [
    "Answering",
    "Prompt",
    "Ready",
    "asks_about_now",
    "assemble",
    "look",
    "most_attended",
    "probe_of",
    "run_chosen",
]
