"""A segmenter for rules that want to see several clips at once: those of a window.

It looks at whole clips and not at cells: `Segment.is_static` names none, and a strategy that wants
to know what stands still looks for itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from streamvlm.reduce.segment import Compared, Segment


def in_one(means: Tensor) -> list[int]:
    """The whole window is one segment."""
    return [len(means)]


class WindowSegmenter:
    """Clips wait until so many are there; then they are cut, and none waits."""

    def __init__(self, *, max_clips: int, cut: Callable[[Tensor], list[int]] = in_one) -> None:
        """`cut` gets the mean token of each clip, [T,D] in float32 at least, and gives the lengths
        of the segments, T in all.
        """
        self._max_clips, self._cut = max_clips, cut
        self._means: list[Tensor] = []
        self._is_static = torch.empty(0)

    def push(self, clip: Tensor | Compared) -> list[Segment]:
        """One more clip, float [N,D]. Gives the segments of the window that it completes."""
        features = clip.features if isinstance(clip, Compared) else clip
        wide = torch.promote_types(features.dtype, torch.float32)
        self._means.append(features.sum(dim=0, dtype=wide) / max(1, len(features)))
        self._is_static = torch.zeros(len(features), dtype=torch.bool, device=features.device)
        return self.flush() if len(self._means) >= self._max_clips else []

    def flush(self) -> list[Segment]:
        """No clip follows: the segments of all that wait. The next clip begins anew."""
        means, self._means = self._means, []
        if not means:
            return []
        lengths = self._cut(torch.stack(means))
        is_static, self._is_static = self._is_static, torch.empty(0)
        return [Segment(num_clips=length, is_static=is_static) for length in lengths]

    @property
    def before(self) -> Compared | None:
        """See `Segmenter`."""
        return None
