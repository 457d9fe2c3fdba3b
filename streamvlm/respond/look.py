"""Whether a condition holds: how much likelier "yes" is than "no". Nothing is decoded.

Never a substring of what a model writes: "no, but yesterday" holds a yes.
"""

from __future__ import annotations

from streamvlm.respond.prompt import Prompt
from streamvlm.vlm import VLM

YES = ("yes", "Yes", "YES", " yes", " Yes", " YES")
NO = ("no", "No", "NO", " no", " No", " NO")
"""Ways to begin an answer."""


def look(vlm: VLM, prompt: Prompt) -> float:
    """log P(yes) - log P(no) of the next token, each over all ways to write it; in nats.

    Works on a copy of keys and values and changes nothing.
    """
    logits = prompt.run(vlm)[1].logits.float()
    yes, no = first_tokens(vlm)
    return float(logits[yes].logsumexp(0) - logits[no].logsumexp(0))


def first_tokens(vlm: VLM) -> tuple[list[int], list[int]]:
    """What a yes can begin with and what a no, without what both can, such as a space."""
    yes, no = ({vlm.token_ids(way)[0] for way in ways} for ways in (YES, NO))
    return sorted(yes - no), sorted(no - yes)
