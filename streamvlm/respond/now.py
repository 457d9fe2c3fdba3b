"""Whether a question says that it is about now."""

from __future__ import annotations

import re

_NOW = re.compile(
    r"\b(?:right now|just this (?:moment|second|minute)|now|currently|at present|as we speak"
    r"|at this (?:very |exact )?(?:moment|instant|second|minute|time|point)"
    r"|at the (?:present|current) (?:moment|time)"
    r"|(?:at|for) the moment(?=\s*(?:[?.!,;]|$)))"
)
"""`at the moment` alone: more words may make it one of the past (at the moment she came)."""

_ANOTHER_TIME = re.compile(
    r"\b(?:just now|now and (?:then|again)|now that|every now"
    r"|(?:un)?til+ (?:right )?now|(?:up to|up until|by|before|from|than|since|to) (?:right )?now"
    r"|was|were|wasn't|weren't|did|didn't|had|hadn't|been|happened|came|went|appeared|arrived"
    r"|entered|saw|seen|gone|became|used to|will|has|hasn't|haven't"
    r"|ago|before|after|afterwards|earlier|previous(?:ly)?|since|until|yet|already|so far"
    r"|first|last|ever|never|again|still|anymore|any more|no longer|then|when|while|during|history"
    r"|than|changed?|different|differ|same|how long|how often|how many times"
    r"|yesterday|today|tonight|morning|afternoon|evening|night|noon|midnight"
    r"|seconds?|minutes?|hours?|days?|weeks?|\d{1,2}:\d\d)\b"
)
_DO = re.compile(r"\b(?:do|does|don't|doesn't)\b")
_HAVE = re.compile(r"\b(?:have|'ve)\b")
_THIS_MOMENT = re.compile(r"\bthis (?:very |exact )?(?:second|minute)\b")


def asks_about_now(text: str) -> bool:
    """Whether an English question is about this moment beyond doubt: it says so ("now",
    "currently", "at the moment"), and nothing in it speaks of another time.

    The present tense alone says nothing ("Which way does he go when he leaves?"), and where there
    is doubt the answer is no: recall is the safe side.
    """
    said = " ".join(text.lower().replace("\u2019", "'").split())
    if not _NOW.search(said):
        return False
    if _HAVE.search(said) and not _DO.search(said):  # have you seen; but: does it have
        return False
    return not _ANOTHER_TIME.search(_THIS_MOMENT.sub("this moment", said))
