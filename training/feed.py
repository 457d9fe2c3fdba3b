"""The batches of a run, made beside it: each worker has scenes of its own and draws contexts."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.batch import Batch
from training.contexts import Range, draw
from training.scenes import EncodedScene, scenes
from training.settings import Settings
from training.writing import Context

FIRST_SEED = 1_000_000
_SEEDS_A_STEP = 10
"""A run that goes on begins behind the scenes that it has had."""
_AHEAD = 4
"""Batches that each worker makes in advance."""


def batches(visual: Any, settings: Settings, first_step: int) -> Iterator[Batch]:
    """Those of all steps from this one on, without end; `visual` is what scenes are seen with."""
    made = _Batches(deepcopy(visual).cpu(), settings, first_step)
    if not settings.workers:
        return iter(made)
    loader = DataLoader(
        made,
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=_AHEAD,
        multiprocessing_context="spawn",  # a process with a GPU cannot be forked
        pin_memory=settings.device == "cuda",
    )
    return iter(loader)


class _Batches(IterableDataset[Batch]):
    """What one of the workers makes: every so manieth step's."""

    def __init__(self, visual: Any, settings: Settings, first_step: int) -> None:
        self._visual, self._settings, self._first_step = visual, settings, first_step

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        settings, step = self._settings, self._first_step + number
        torch.set_float32_matmul_precision("high")
        first_seed = FIRST_SEED + self._first_step * _SEEDS_A_STEP + number
        made = scenes(
            self._visual.to(settings.device),
            range(first_seed, 2**62, count),
            settings.device,
            settings.scene_seconds,
            is_for_training=True,
        )
        pool = Pool(made, settings, count, seed=step)
        while True:
            pool.renew()
            span, rows = range_at(step, settings)
            yield Batch(pool.contexts(rows, span))
            step += count


class Pool:
    """The newest scenes of one of so many workers, from which contexts are drawn."""

    def __init__(
        self, source: Iterator[EncodedScene], settings: Settings, workers: int, *, seed: int
    ) -> None:
        self._source, self._a_step = source, settings.scenes_a_step
        self._most = max(1, settings.pool_scenes // workers)
        self._rng = np.random.default_rng((seed, 9))
        first = min(self._most, max(1, settings.first_scenes // workers))
        self._scenes = [next(source) for _ in range(first)]
        self._oldest, self._due = 0, 0.0

    def renew(self) -> None:
        """The new scenes of a step, in place of the oldest where the pool is full."""
        self._due += self._a_step
        while self._due >= 1:
            self._due -= 1
            if len(self._scenes) < self._most:
                self._scenes.append(next(self._source))
            else:
                self._scenes[self._oldest] = next(self._source)
                self._oldest = (self._oldest + 1) % self._most

    def contexts(self, count: int, span: Range) -> list[Context]:
        """So many contexts of scenes chosen at random."""
        drawn: list[Context] = []
        while len(drawn) < count:
            scene = self._scenes[self._rng.integers(len(self._scenes))]
            context = draw(scene, self._rng, span)
            if context is not None:
                drawn.append(context)
        return drawn


def range_at(step: int, settings: Settings) -> tuple[Range, int]:
    """What contexts a step has, and how many.

    First a clip or two with hardly any background: that questions can be looked up is found out
    there. Then short ones, and at three of four steps long ones, most with nothing left out.
    """
    rows, questions = settings.answer_rows, settings.questions
    if step < settings.short_steps // 2:
        span = Range(max_clips=2, background=0.05, thinned_share=1.0, questions=questions // 3)
        return span, 4 * rows
    if step < settings.short_steps:
        clips = 2 + 10 * step // settings.short_steps
        return Range(max_clips=clips, max_tokens=300, questions=questions // 2), 2 * rows
    if step % 4:
        span = Range(
            max_tokens=4800,
            whole_share=0.7,
            long_share=0.7,
            thinned_share=0.3,
            questions=3 * questions,
        )
        return span, max(1, rows // 4)
    return Range(max_tokens=900 if step % 8 else 500, questions=questions), rows
