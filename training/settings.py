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
    workers: int
    """Processes that make scenes and draw contexts of them; 0: the one that trains."""
    pool_scenes: int
    """Encoded scenes that contexts are drawn from, those of all workers together."""
    first_scenes: int
    """Of these, how many there are before the first step."""
    scenes_a_step: float
    """New ones."""


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
    workers=1,
    pool_scenes=600,
    first_scenes=80,
    scenes_a_step=0.5,
)
"""For two cores."""

GPU = Settings(
    device="cuda",
    see_steps=6000,
    see_clips=128,
    see_rate=1.5e-3,
    answer_steps=20_000,
    short_steps=900,
    answer_rows=48,
    answer_rate=1e-3,
    questions=24,
    scene_seconds=90,
    held_out_scenes=48,
    workers=14,
    pool_scenes=4200,
    first_scenes=112,
    scenes_a_step=3.0,
)
"""For one large GPU and 16 cores."""

SETTINGS = {"cpu": CPU, "gpu": GPU}
