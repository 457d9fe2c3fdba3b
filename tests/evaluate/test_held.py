"""Slow change: what is held of the picture follows it by reference, and not by the strict rule."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
import torch

from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.encode import Encoder
from streamvlm.evaluate.held import Held
from streamvlm.evaluate.suites.mini import SyntheticVideo
from streamvlm.evaluate.world.script import Dawn, Script, Turn, Visit
from streamvlm.evaluate.world.things import Kind, Thing
from streamvlm.reduce import build_reducer
from streamvlm.reduce.ops import cosine_distance
from streamvlm.types import AnswerFinished, Question, Sampling, VisualTokens
from streamvlm.vlm import VLM, load

SEED = 902_500_000
SECONDS = 75.0
THRESHOLD = 0.15
TURN = Turn(color="black", start=10.0, end=60.0)
DAWN = Dawn(first=0.02, start=10.0, end=70.0)
RULES: dict[str, dict[str, Any]] = {
    "reference": {"max_age": 10_000},
    "strict": {"compare_with": "previous"},
}


@pytest.fixture(scope="module")
def mini() -> VLM:
    return load("mini", device="cpu", max_pixels=256 * 256)


def watched(mini: VLM, *, turn: Turn | None = None, dawn: Dawn | None = None) -> list[VisualTokens]:
    thing = Thing(kind=Kind("white", "circle"), size="large", radius=0.125, plate="")
    visit = Visit(thing=thing, times=(-1.0, 1e4), points=((0.5, 0.5),) * 2, turn=turn)
    script = Script(seed=SEED, seconds=SECONDS, visits=(visit,), dawn=dawn)
    clips = list(SyntheticVideo(script=script).clips(2.0, 256 * 256))
    return Encoder(tower=mini, max_batch_clips=8).encode(clips)


def held_by(rule: str, scenes: list[VisualTokens]) -> list[VisualTokens]:
    held = Held(build_reducer({"name": "dtd", "threshold": THRESHOLD} | RULES[rule]))
    return [held.push(scene) for scene in scenes]


def farthest(one: VisualTokens, other: VisualTokens) -> float:
    return float(cosine_distance(one.features, other.features).max())


def answer(mini: VLM, clip: VisualTokens) -> str:
    pipeline = Beginning(mini, Config()).pipeline()
    pipeline.feed(clip)
    answering = pipeline.ask(
        Question(
            question_id="q",
            stream_id="s",
            text="What colour is the circle?",
            sampling=Sampling(max_new_tokens=8),
        ),
        time.monotonic(),
    )
    while True:
        for event in answering.advance():
            if isinstance(event, AnswerFinished):
                return event.text


@pytest.mark.parametrize("change", [{"turn": TURN}, {"dawn": DAWN}], ids=["turn", "dawn"])
def test_what_changes_slowly_is_followed_by_reference_only(
    mini: VLM, change: dict[str, Any]
) -> None:
    scenes = watched(mini, **change)
    steps = [farthest(one, other) for one, other in pairwise(scenes)]
    assert max(steps) < THRESHOLD, "no clip differs much from the one before it"
    followed, stuck = held_by("reference", scenes), held_by("strict", scenes)
    for scene, held in zip(scenes, followed, strict=True):
        assert farthest(held, scene) <= THRESHOLD + 1e-6
    assert all(torch.equal(held.features, scenes[0].features) for held in stuck)
    assert farthest(stuck[-1], scenes[-1]) > THRESHOLD
    first, last = answer(mini, scenes[0]), answer(mini, scenes[-1])
    assert first != last
    assert answer(mini, followed[-1]) == last
    assert answer(mini, stuck[-1]) == first


@pytest.mark.parametrize("name", ["compressor", "dtd"])
def test_what_is_held_of_a_cell_is_one_of_the_tokens_it_showed(mini: VLM, name: str) -> None:
    scenes = watched(mini, turn=TURN)[10:30]
    held = Held(build_reducer({"name": name}))
    for scene in scenes:
        picture = held.push(scene)
        assert picture.pts_seconds == scene.pts_seconds
    assert picture.deepstack is not None
    for row, (own, levels) in enumerate(
        zip(picture.features, picture.deepstack.unbind(dim=1), strict=True)
    ):
        when = [scene for scene in scenes if torch.equal(scene.features[row], own)]
        assert when and when[0].deepstack is not None
        assert torch.equal(levels, when[0].deepstack[:, row])
    assert 0 < held.num_settled < held.num_seen == len(scenes) * len(scenes[0])
