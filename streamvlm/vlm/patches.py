"""How a vision tower wants its pictures cut into patches."""

from __future__ import annotations

from dataclasses import dataclass

from streamvlm.types import GridRule


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSpec:
    """Sizes, colours and resize rule of a vision tower of the Qwen2-VL family."""

    patch_size: int
    """P: side of a patch in pixels, 14 (Qwen2.5-VL) or 16 (Qwen3-VL)."""
    merge_size: int = 2
    """Patches along each side of the square that the tower merges into one visual token."""
    temporal_patch_size: int = 2
    """Frames that make one patch."""
    mean: tuple[float, float, float]
    """Of the red, green and blue channel, on the scale 0..1."""
    std: tuple[float, float, float]
    """As `mean`; > 0."""
    rule: GridRule
    """The sizes that pictures are brought to; its cell is `patch_size * merge_size`."""

    def __post_init__(self) -> None:
        if min(self.patch_size, self.merge_size, self.temporal_patch_size) < 1:
            raise ValueError(
                "patch_size, merge_size and temporal_patch_size must be positive, got "
                f"{self.patch_size}, {self.merge_size} and {self.temporal_patch_size}"
            )
        if self.rule.cell_pixels != self.patch_size * self.merge_size:
            raise ValueError(
                f"a cell of {self.merge_size} x {self.merge_size} patches of {self.patch_size} "
                f"pixels is not {self.rule.cell_pixels} pixels wide, as the rule says"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")

    @property
    def patch_values(self) -> int:
        """C * T * P * P: numbers in one row of patches."""
        return 3 * self.temporal_patch_size * self.patch_size**2
