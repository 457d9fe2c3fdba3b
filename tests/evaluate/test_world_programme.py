"""A world as H.264: whole seconds, each by itself, in which what matters can still be read."""

from __future__ import annotations

import av
import numpy as np
import pytest

from streamvlm.capture.h264 import NAL_IDR, NAL_PPS, NAL_SPS, AccessUnit, nal_type
from streamvlm.evaluate.world.render import render
from streamvlm.evaluate.world.script import Pace, Script, write
from streamvlm.evaluate.world.truth import look
from streamvlm.evaluate.world_programme import WorldProgramme

FPS = 10
SIDE = 256


def programme(script: Script) -> WorldProgramme:
    return WorldProgramme(script, fps=FPS, side=SIDE)


def decoded(units: list[AccessUnit]) -> list[np.ndarray]:
    decoder = av.CodecContext.create("h264", "r")
    packets = [b"".join(b"\0\0\0\1" + nal for nal in unit) for unit in units]
    pictures = [picture for each in packets for picture in decoder.decode(av.Packet(each))]
    return [each.to_ndarray(format="rgb24") for each in (*pictures, *decoder.decode(None))]


def test_each_second_begins_with_a_keyframe_and_its_parameter_sets() -> None:
    units = programme(write(1, 2.5))
    assert len(units) == 25
    for index in (20, 0, 10):  # in any order
        assert {NAL_IDR, NAL_SPS, NAL_PPS} <= {nal_type(nal) for nal in units[index]}
    assert NAL_IDR not in {nal_type(nal) for nal in units[24]}
    with pytest.raises(IndexError):
        units[25]


def test_seconds_that_are_over_are_not_kept() -> None:
    units = WorldProgramme(write(1, 8.0), fps=2, side=64)
    for index in range(len(units)):
        assert units[index]
        assert len(units._seconds) <= 3


def plated(seeds: range) -> tuple[Script, int, tuple[slice, slice]]:
    """A script, a second at which something with a number rests in it, and where the number is."""
    for seed in seeds:
        script = write(seed, 20.0, Pace(between=1.0, quiet_share=0.0, trouble_every=0.0))
        for second in range(20):
            for sight in look(script, second).present:
                if sight.thing.plate and sight.moving == "still" and sight.visible > 0.99:
                    reach = 0.8 * sight.thing.radius
                    left, right = (round((sight.place[0] + s) * SIDE) for s in (-reach, reach))
                    middle = round(sight.place[1] * SIDE)
                    return script, second, (slice(middle - 8, middle + 8), slice(left, right))
    raise AssertionError("no number in all these worlds")


def test_digits_stay_legible() -> None:
    script, second, area = plated(range(20))
    units = programme(script)
    shown = decoded([units[second * FPS + index] for index in range(FPS)])[-1]
    truth = render(script, [second + 0.9], height=SIDE, width=SIDE).numpy()[0]
    ink, true_ink = (picture[area].mean(axis=-1) < 128 for picture in (shown, truth))
    assert 0.05 < true_ink.mean() < 0.95
    assert (ink == true_ink).mean() > 0.99
