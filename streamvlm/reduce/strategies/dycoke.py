"""Keep the first clip of every four whole, and of the others what is new.

After "DyCoke: Dynamic Compression of Tokens for Fast Video Large Language Models" (2024, arXiv
2411.15024), its temporal merging before the language model. Odd clips are compared with the one
before, even ones with the first, all of them whole. Its code leaves the third clip of the last four
whole and loses an odd one at the end; here both are like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from annotated_types import Ge
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, Signal, num_kept, shared_out
from streamvlm.reduce.holistic import gather, own_rows
from streamvlm.reduce.ops import by_strength, cosine_distance, evenly_spaced, in_steps
from streamvlm.reduce.segment import Segment
from streamvlm.reduce.stream import BySegment, StreamReduction
from streamvlm.reduce.window import WindowSegmenter
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class DyCoke:
    """Keep a fixed share of every few clips, the first of them before all others."""

    about: ClassVar[About] = About(
        title="DyCoke: Dynamic Compression of Tokens for Fast Video Large Language Models",
        year=2024,
        arxiv="2411.15024",
        kind="prune",
        lag_clips=3,
        cost="O(ND)",
        licence="Apache-2.0",
        substitution="A first clip that the share does not hold is thinned evenly: the method keeps"
        " a quarter at least.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    """At one in `segment_clips` the first clip is all there is."""
    segment_clips: Annotated[int, Ge(1)] = 4
    """Clips of a segment, and most that wait."""

    def open(self) -> StreamReduction:
        """That of a stream which has seen nothing."""
        new_segmenter = partial(WindowSegmenter, max_clips=self.segment_clips)
        return BySegment(new_segmenter, self.reduce, self.owners)

    def reduce(self, clips: Sequence[VisualTokens], segment: Segment) -> list[KeptTokens]:
        """What is left of each clip of a segment."""
        return gather(clips, self.owners(clips, segment))

    def owners(self, clips: Sequence[VisualTokens], segment: Segment) -> Tensor:
        """int64 [T,N], which row each one of a segment joins: itself, where it is kept."""
        num_cells = len(clips[0])
        count = num_kept(len(clips) * num_cells, self.keep_ratio)
        whole = min(count, num_cells)
        kept = [evenly_spaced(num_cells, whole, clips[0].features.device)]
        counts = shared_out(count - whole, [num_cells] * (len(clips) - 1))
        for number, share in enumerate(counts, start=1):
            before = clips[number - 1 if number % 2 else 0]
            distance = cosine_distance(clips[number].features, before.features)
            kept.append(by_strength(in_steps(distance))[:share])
        return own_rows(kept, num_cells)
