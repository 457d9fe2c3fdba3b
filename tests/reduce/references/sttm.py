"""Quadtrees by recursion, and every square compared with every one of the picture before."""

from __future__ import annotations

from collections.abc import Sequence

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "sttm", "keep_ratio": 7 / 24, "similarity": 0.3}
# A row of cells: 0 to 3 are alike, 4 is not. Then cell 2 changes: the square of 2 and 3 is split.
EXAMPLE = Example(
    settings={"keep_ratio": 0.8},
    clips=[angles(0, 0, 0, 0, 90), angles(0, 0, 180, 0, 90), angles(0, 0, 180, 0, 90)],
    rows=[[0, 4], [2], []],
)

Square = list[int]


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, similarity: float
) -> list[Expected]:
    """Clips of one picture each: what joins a square of the clip before is left to that."""
    kept, before, before_means = [], list[Square](), list[Tensor]()
    for clip in clips:
        tree = _Tree(clip)
        for threshold in sorted({*tree.cosines(), 9.0}, reverse=True):
            squares = sorted(tree.squares(threshold))
            means = [tree.mean(square) for square in squares]
            new = [
                number
                for number, square in enumerate(squares)
                if not any(
                    (set(square) <= set(other) or set(other) <= set(square))
                    and _cosine(means[number], mean) >= similarity
                    for other, mean in zip(before, before_means, strict=True)
                )
            ]
            if len(new) <= round(keep_ratio * len(clip)):
                break
        kept.append(
            Expected(
                rows=[squares[number][0] for number in new],
                features=clip.features.new_tensor([means[number].tolist() for number in new]),
                weight=[len(squares[number]) for number in new],
            )
        )
        before, before_means = squares, means
    return kept


class _Tree:
    def __init__(self, clip: VisualTokens) -> None:
        self._clip = clip
        self._all = list(range(len(clip)))
        self._side = 1
        while self._side < max(clip.grid_thw):
            self._side *= 2

    def mean(self, square: Square) -> Tensor:
        return self._clip.features[square].mean(dim=0)

    def squares(self, threshold: float) -> list[Square]:
        return self._cut(self._all, self._side, threshold)

    def cosines(self) -> set[float]:
        """Of all squares to their least like quarter."""
        found, todo = set(), [(self._all, self._side)]
        while todo:
            square, side = todo.pop()
            if side > 1:
                found.add(self._least(square, side))
                todo += [(quarter, side // 2) for quarter in self._quarters(square, side)]
        return found

    def _cut(self, square: Square, side: int, threshold: float) -> list[Square]:
        if side == 1 or self._least(square, side) >= threshold:
            return [square]
        quarters = self._quarters(square, side)
        return [part for each in quarters for part in self._cut(each, side // 2, threshold)]

    def _least(self, square: Square, side: int) -> float:
        whole = self.mean(square)
        return min(
            round(_cosine(whole, self.mean(quarter)), 6) for quarter in self._quarters(square, side)
        )

    def _quarters(self, square: Square, side: int) -> list[Square]:
        half = side // 2
        quarters: dict[tuple[int, int], Square] = {}
        for cell in square:
            _, row, column = self._clip.cells[cell].tolist()
            quarters.setdefault((row // half, column // half), []).append(cell)
        return list(quarters.values())


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
