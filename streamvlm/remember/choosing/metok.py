"""Events first: how much the question attends to an event says how much of it comes back.

After "METok: Multi-Stage Event-based Token Compression for Efficient Long Video Understanding"
(2025, arXiv 2506.02850): the video is cut where neighbouring frames are least alike, and tokens are
pruned by event importance and by their attention to the text. Checked against its abstract and a
summary only: how importance becomes a budget, and the number of events, are ours. Left out are its
coarser pooling of frames that are no key frames and its dropping of keys in deep layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from streamvlm.about import About
from streamvlm.remember.choosing.base import (
    Chosen,
    FoundTokens,
    followed_by,
    in_places,
    strongest_first,
)
from streamvlm.remember.choosing.shares import shared_out


@dataclass(frozen=True, slots=True, kw_only=True)
class MeTok:
    """Of each event the tokens that are most attended to, as many as it is attended to."""

    about: ClassVar[About] = About(
        title="METok: Multi-Stage Event-based Token Compression for Efficient Long Video "
        "Understanding",
        year=2025,
        arxiv="2506.02850",
        kind="prune",
        cost="O(N R)",
        substitution="The attention that the probe's heads would share among the keys stands for "
        "that of the text inside the model, an event's sum of it for event importance; a clip is "
        "the mean of its keys. Clips that were not found lie between neighbours here.",
    )
    num_events: int = 8
    """Into which the found clips are cut; as many as there are clips where these are fewer."""

    def __call__(self, found: FoundTokens, max_tokens: int) -> Chosen:
        """What an event's part is too small for goes to the most attended of all others."""
        if not len(found):
            return Chosen(rows=found.clips)
        event_of = self._events(found)
        num_events = int(event_of[-1]) + 1
        attention, events = found.attention, event_of[found.clips]
        importance = torch.zeros(num_events).index_add(0, events, attention)
        least = torch.zeros(num_events, dtype=torch.int64).scatter_reduce(
            0, event_of, found.num_text + 1, "amin", include_self=False
        )
        most = torch.bincount(events, minlength=num_events)
        most = most.index_add(0, event_of, found.num_text)
        order = strongest_first(attention)
        parts = shared_out(importance, least, most, max_tokens).tolist()
        chosen = [
            found.affordable(order[events[order] == event], part)
            for event, part in enumerate(parts)
        ]
        order = followed_by(torch.cat(chosen), order)
        return Chosen(rows=found.affordable(order, max_tokens))

    def _events(self, found: FoundTokens) -> Tensor:
        """int64 [C]: the event of each clip; a new one begins where two neighbours are least
        alike.
        """
        clips = normalize(found.clip_means(found.keys.flatten(1)), dim=1)
        alike = (clips[1:] * clips[:-1]).sum(dim=1)
        cuts = strongest_first(-in_places(alike))[: self.num_events - 1]
        begins = torch.zeros(len(clips), dtype=torch.int64)
        begins[cuts + 1] = 1
        return begins.cumsum(dim=0)
