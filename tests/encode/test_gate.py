"""Which cells the pixel gate calls changed, and what it compares with."""

from __future__ import annotations

import numpy as np
import pytest

from streamvlm.encode import PixelGate

CELL = 28
GREY = np.full((2, 2 * CELL, 3 * CELL, 3), 100, dtype=np.uint8)
"""A clip of two frames and 2 x 3 cells."""


def gate_that_encoded(clip: np.ndarray, *, threshold: float = 0.01) -> PixelGate:
    gate = PixelGate(threshold=threshold, cell_pixels=CELL)
    gate.mark_encoded(clip)
    return gate


def brighter(clip: np.ndarray, levels: int, *, frames: slice = slice(None)) -> np.ndarray:
    """A copy whose cell (1, 2) is brighter in these frames."""
    changed = clip.copy()
    changed[frames, CELL:, 2 * CELL :] += np.uint8(levels)
    return changed


def test_everything_is_new_at_first() -> None:
    changed = PixelGate(threshold=1.0, cell_pixels=CELL).changed_cells(GREY)
    assert changed.shape == (2, 3)
    assert changed.dtype == np.bool_
    assert changed.all()


@pytest.mark.parametrize("threshold", [0.0, 0.01])
def test_a_still_scene_has_not_changed(threshold: float) -> None:
    assert not gate_that_encoded(GREY, threshold=threshold).changed_cells(GREY.copy()).any()


def test_the_changed_cell_is_named_and_no_other() -> None:
    changed = gate_that_encoded(GREY).changed_cells(brighter(GREY, 10))
    assert changed.tolist() == [[False, False, False], [False, False, True]]


@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize("levels", [10, -10 % 256], ids=["brighter", "darker"])
def test_one_frame_of_the_clip_is_enough(frame: int, levels: int) -> None:
    clip = brighter(GREY, levels, frames=slice(frame, frame + 1))
    assert gate_that_encoded(GREY).changed_cells(clip).sum() == 1


def test_the_threshold_is_a_share_of_the_grey_range_that_must_be_exceeded() -> None:
    gate = gate_that_encoded(GREY, threshold=3 / 255)
    assert not gate.changed_cells(brighter(GREY, 3)).any()
    assert gate.changed_cells(brighter(GREY, 4)).any()


def test_threshold_zero_sees_a_single_byte() -> None:
    clip = GREY.copy()
    clip[1, 0, 0, 0] += 1
    assert gate_that_encoded(GREY, threshold=0.0).changed_cells(clip).sum() == 1


def test_black_against_white_does_not_overflow() -> None:
    black, white = np.zeros_like(GREY), np.full_like(GREY, 255)
    for before, now in [(black, white), (white, black)]:
        assert gate_that_encoded(before, threshold=0.999).changed_cells(now).all()
        assert not gate_that_encoded(before, threshold=1.0).changed_cells(now).any()


def test_the_mean_is_taken_over_each_cell() -> None:
    generator = np.random.default_rng(0)
    before, now = generator.integers(0, 256, (2, *GREY.shape), dtype=np.uint8)
    difference = np.abs(now.astype(float) - before[-1]) / 255
    cells = difference.reshape(2, 2, CELL, 3, CELL, 3).mean(axis=(2, 4, 5)).max(axis=0)
    threshold = float(np.median(cells))
    changed = gate_that_encoded(before, threshold=threshold).changed_cells(now)
    assert changed.tolist() == (cells > threshold).tolist()
    assert 0 < changed.sum() < 6


def test_slow_drift_triggers_in_the_end() -> None:
    gate = gate_that_encoded(GREY, threshold=5 / 255)
    encoded_at = []
    for step in range(1, 13):
        clip = brighter(GREY, step)
        if gate.changed_cells(clip).any():
            gate.mark_encoded(clip)
            encoded_at.append(step)
    assert encoded_at == [6, 12]


def test_asking_changes_nothing() -> None:
    gate = gate_that_encoded(GREY)
    clip = brighter(GREY, 10)
    before = clip.copy()
    assert gate.changed_cells(clip).tolist() == gate.changed_cells(clip).tolist()
    assert np.array_equal(clip, before)
    assert not gate.changed_cells(GREY).any()


def test_the_comparison_is_with_the_last_frame_of_the_encoded_clip() -> None:
    settled = brighter(GREY, 10)
    arriving = np.stack([GREY[0], settled[1]])
    gate = gate_that_encoded(arriving)
    assert not gate.changed_cells(settled).any()
    assert gate.changed_cells(GREY).any()


def test_pixels_may_be_reused_after_marking() -> None:
    clip = GREY.copy()
    gate = gate_that_encoded(clip)
    clip[:] = 0
    assert not gate.changed_cells(GREY).any()


def test_another_size_has_changed() -> None:
    gate = gate_that_encoded(GREY)
    assert gate.changed_cells(GREY[:, :CELL]).tolist() == [[True, True, True]]
    assert gate.changed_cells(GREY[:, :, :CELL]).tolist() == [[True], [True]]


def test_the_number_of_frames_may_vary() -> None:
    assert not gate_that_encoded(GREY).changed_cells(GREY[:1]).any()


def test_everything_is_new_after_forgetting() -> None:
    gate = gate_that_encoded(GREY)
    gate.forget()
    assert gate.changed_cells(GREY).all()


def test_pixels_that_are_not_on_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="84 x 55 pixels are not whole cells of 28"):
        gate_that_encoded(GREY).changed_cells(np.zeros((2, 84, 55, 3), dtype=np.uint8))


@pytest.mark.parametrize(("threshold", "cell"), [(-0.1, 28), (1.1, 28), (float("nan"), 28), (0, 0)])
def test_impossible_settings_are_refused(threshold: float, cell: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        PixelGate(threshold=threshold, cell_pixels=cell)
