"""What can be seen in a synthetic world: its words and its colours."""

from __future__ import annotations

from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 38),
    "green": (40, 160, 62),
    "blue": (38, 80, 214),
    "yellow": (238, 208, 48),
    "orange": (242, 132, 28),
    "purple": (146, 58, 184),
    "white": (242, 242, 242),
    "black": (22, 22, 22),
}
"""Colour words and their sRGB values."""

SIZES: dict[str, tuple[float, float]] = {"small": (0.062, 0.078), "large": (0.112, 0.132)}
"""Size words and the range of radii, in shares of the picture's shorter side."""

ZONES = (
    ("top left", "top", "top right"),
    ("left", "middle", "right"),
    ("bottom left", "bottom", "bottom right"),
)
"""Where something is: the picture in thirds, row by row."""

DIRECTIONS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}
"""Ways to move, as steps of (column, row)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a question can name; at most one thing of a kind is in view at a time."""

    color: str
    shape: str

    def __str__(self) -> str:
        return f"{self.color} {self.shape}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something that can come into view."""

    kind: Kind
    size: str
    """A key of `SIZES`."""
    radius: float
    """In shares of the picture's shorter side."""
    plate: str
    """Two or three digits written on it, or nothing."""


KINDS = tuple(Kind(color, shape) for color in COLORS for shape in SHAPES)
"""All of them."""


def zone(x: float, y: float) -> str:
    """The third of the picture that a point is in; `x`, `y` in 0..1 from the top left."""
    return ZONES[min(2, max(0, int(y * 3)))][min(2, max(0, int(x * 3)))]
