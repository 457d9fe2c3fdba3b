"""What memory holds of the picture: of each cell the token that was kept last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from streamvlm.reduce import AnyReducer, open_stream
from streamvlm.types import KeptTokens, VisualTokens


class Held:
    """A stream's reduction, watched: the newest kept token of each cell, put together as a clip.

    For clips of one size whose first one is kept whole.
    """

    def __init__(self, reducer: AnyReducer) -> None:
        self._reduction = open_stream(reducer, 1)
        self._settled: VisualTokens | None = None
        self.num_seen = 0
        """Tokens that came."""
        self.num_settled = 0
        """Tokens that were kept of complete segments."""

    def push(self, tokens: VisualTokens) -> VisualTokens:
        """One more clip. Gives the picture as it is held now, with the times of this clip."""
        self.num_seen += len(tokens)
        if self._settled is None:
            self._settled = tokens
        for segment in self._reduction.push(tokens, None):
            self._settled = _renewed(self._settled, segment.clips)
            self.num_settled += segment.num_tokens
        waiting = self._reduction.waiting
        held = _renewed(self._settled, waiting.clips if waiting else ())
        return replace(held, interval=tokens.interval, pts_seconds=tokens.pts_seconds)


def _renewed(held: VisualTokens, clips: Iterable[KeptTokens]) -> VisualTokens:
    features, deepstack = held.features, held.deepstack
    for kept in clips:
        features = features.index_copy(0, kept.indices, kept.features)
        if deepstack is not None and kept.deepstack is not None:
            deepstack = deepstack.index_copy(1, kept.indices, kept.deepstack)
    return replace(held, features=features, deepstack=deepstack)
