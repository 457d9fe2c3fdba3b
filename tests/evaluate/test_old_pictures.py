"""What the early blocks of a stream say when they are seen again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamvlm.config import Config
from streamvlm.evaluate.items import Case
from streamvlm.evaluate.methods import METHODS, Method
from streamvlm.evaluate.runner import run
from streamvlm.evaluate.suites import mini
from streamvlm.types import Tier
from streamvlm.vlm import load

DEVICE_BYTES = 3_500_000
"""Some forty of the 120 seconds."""
SEED, QUESTION, ANSWER = 900_000_001, "Tell me what number was on the purple ring.", "242"


def remembering(name: str, **remember: Any) -> Method:
    settings = {"budget_bytes": DEVICE_BYTES, "local_blocks": 4, **remember}
    return replace(METHODS["service"], name=name, settings={"remember": settings})


def test_a_past_question_is_answered_from_pictures_as_from_exact_keys_and_values() -> None:
    vlm = load("mini", dtype="float32", device="cpu", max_pixels=Config().encode.max_pixels)
    (case,) = mini.cases([SEED], seconds=120.0, asks_per_video=1)
    (item,) = (each for each in case.items if each.question == QUESTION)
    assert item.answer == ANSWER and item.event_seconds is not None
    assert item.asked_seconds - item.event_seconds > 90
    methods = [
        remembering("exact", host_budget_bytes=2**28),
        remembering("pictures", host_budget_bytes=2**28, host_form="pictures"),
        remembering("forgotten"),
    ]
    outcomes = run(vlm, [Case(video=case.video, items=(item,))], methods, config=Config())
    exact, pictures, forgotten = outcomes
    assert exact.is_right and pictures.is_right and not forgotten.is_right
    held = {each.tier: each for each in pictures.memory.tiers}
    assert (held[Tier.HOST].form, held[Tier.DEVICE].form) == ("pictures", "exact")
    assert held[Tier.HOST].blocks > held[Tier.DEVICE].blocks
    assert pictures.memory.blocks == exact.memory.blocks
    (before,) = (each for each in exact.memory.tiers if each.tier == Tier.HOST)
    assert held[Tier.HOST].num_bytes * 10 < before.num_bytes
