"""Noise and light are no news; a thing is."""

from __future__ import annotations

import numpy as np

from streamvlm.encode import scene_of, scenes_differ
from streamvlm.evaluate.world.render import render
from streamvlm.evaluate.world.script import Script, Visit
from streamvlm.evaluate.world.things import Kind, Thing

CELL, THRESHOLD = 32, 0.04


def scenes(*visits: Visit, seconds: float = 60.0) -> list[np.ndarray]:
    """Of a synthetic camera, one a second, with its noise, its flicker and its drift of light."""
    script = Script(seed=5, seconds=seconds, visits=visits)
    frames = render(script, [float(each) for each in range(int(seconds))]).numpy()
    return [scene_of(frame[None], CELL) for frame in frames]


def test_noise_and_drifting_light_are_no_news() -> None:
    first, *others = scenes()
    assert not any(scenes_differ(first, other, THRESHOLD) for other in others)


def test_a_small_thing_that_comes_moves_and_goes_is_news() -> None:
    thing = Thing(kind=Kind("red", "circle"), size="small", radius=0.065, plate="")
    points = ((0.2, 0.2), (0.2, 0.2), (0.5, 0.5), (0.5, 0.5))
    shown = scenes(Visit(thing=thing, times=(10, 20, 22, 30), points=points), seconds=40)
    differ = [
        second
        for second in range(1, 40)
        if scenes_differ(shown[second - 1], shown[second], THRESHOLD)
    ]
    assert differ[0] in (10, 11)
    assert differ[-1] in (30, 31)
    assert {21, 22} <= set(differ)
    assert not set(differ) & set(range(12, 20)), "while it rests nothing changes"


def test_another_size_is_another_scene() -> None:
    small, large = (scene_of(np.full((2, 64, width, 3), 9, np.uint8), CELL) for width in (64, 96))
    assert scenes_differ(small, large, THRESHOLD)
    assert scenes_differ(None, large, THRESHOLD)
    assert not scenes_differ(large, large, THRESHOLD)


def test_the_last_frame_counts_and_what_is_no_whole_cell_does_not() -> None:
    pixels = np.zeros((2, 40, 70, 3), np.uint8)
    pixels[1] = 100
    pixels[1, :, :32] = 50
    scene = scene_of(pixels, CELL)
    assert scene.shape == (1, 2, 3)
    np.testing.assert_allclose(scene[0, :, 0], [50 / 75, 100 / 75], rtol=1e-6)


def test_a_black_picture_has_a_scene() -> None:
    assert np.isfinite(scene_of(np.zeros((2, 64, 64, 3), np.uint8), CELL)).all()
