"""How much of everything: the recipe at two sizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One size of the recipe."""

    device: str
    see_steps: int
    """Steps of the first stage."""
    see_clips: int
    """Clips a step; a multiple of 4."""
    see_rate: float
    """Learning rate at its highest."""
    answer_steps: int
    """Steps of the second stage."""
    short_steps: int
    """The first of them, with short contexts."""
    answer_rows: int
    """Contexts a step."""
    answer_rate: float
    questions: int
    """At most, of a context."""
    scene_seconds: int
    """Longest scene."""
    held_out_scenes: int
    """What accuracy is measured on now and then."""
    pool_scenes: int
    """Encoded scenes that contexts are drawn from."""
    first_scenes: int
    """Scenes in the pool before the first step."""
    steps_a_scene: int
    """Steps between two new scenes."""


CPU = Settings(
    device="cpu",
    see_steps=5200,
    see_clips=16,
    see_rate=1e-3,
    answer_steps=4000,
    short_steps=900,
    answer_rows=4,
    answer_rate=6e-4,
    questions=24,
    scene_seconds=90,
    held_out_scenes=24,
    pool_scenes=600,
    first_scenes=80,
    steps_a_scene=2,
)
"""For two cores."""

GPU = Settings(
    device="cuda",
    see_steps=6000,
    see_clips=128,
    see_rate=1.5e-3,
    answer_steps=12_000,
    short_steps=900,
    answer_rows=48,
    answer_rate=6e-4,
    questions=24,
    scene_seconds=90,
    held_out_scenes=24,
    pool_scenes=4000,
    first_scenes=100,
    steps_a_scene=1,
)
"""For one large GPU; not run yet."""

SETTINGS = {"cpu": CPU, "gpu": GPU}
