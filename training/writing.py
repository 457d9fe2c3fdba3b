"""A context as the tokens that the service would give the model, and questions behind it.

Written as `streamvlm.vlm` lays out a stream for Qwen3-VL; `tests/training` holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from streamvlm.evaluate.world.questions import TruthQuestion
from streamvlm.evaluate.world.things import COLORS, SHAPES
from streamvlm.evaluate.world.truth import Look
from streamvlm.vlm.positions import place_by_order, text_positions
from training.architecture import CELLS
from training.evidence import evidence
from training.scenes import EncodedScene
from training.tokenizer import tokenizer

NO_LABEL = -100
ORDINALS, COMINGS = 16, 6
"""Classes of two dense labels: which arrival of the context a thing is, which of its kind."""
NOBODY = 0
"""Class of what came before the first arrival; those of colours and shapes follow."""
TIME_DIGITS, STAY_DIGITS = 4, 2
"""Digits that a dense label each tells, from whole seconds up: of a time, of a stay's length."""

_TURN_START = "<|im_start|>user\n"
_TURN_END = "<|im_end|>\n<|im_start|>assistant\n"
_ANSWER_END = "<|im_end|>"
_CLIP_POSITIONS = 18
"""About what a clip takes: its text and its grid's side."""
_MOST_MISSED = 3_000
"""Positions that go by where the scene was not looked at for a while, at most."""
_VISUAL = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """One row of a batch: S tokens, V of them visual."""

    ids: Tensor
    """int64 [S]; 0 for visual tokens."""
    positions: Tensor
    """int64 [S, 3]."""
    part: Tensor
    """int64 [S]: 0 what all questions see, then one number for each question."""
    targets: Tensor
    """int64 [S]: the token that comes next where that belongs to an answer, else NO_LABEL."""
    is_visual: Tensor
    """bool [S]."""
    features: Tensor
    """float16 [V, D]."""
    deepstack: Tensor
    """float16 [Z, V, D]."""
    dense: Tensor
    """int64 [V, 5 + 2 * TIME_DIGITS + STAY_DIGITS]: which arrival it is, whether it arrived in this
    clip, which of its kind, the digits of the clip's time and of its arrival's, of what arrives the
    colour and shape of what had arrived before, and the digits of how long it has been there;
    NO_LABEL where there is none.
    """
    visits: Tensor
    """int64 [V]: which thing it shows, or -1."""
    earlier: Tensor
    """int64 [V]: of what arrives, which thing had arrived before, or -1."""
    questions: tuple[TruthQuestion, ...]
    evidence: Tensor
    """bool [questions, HOPS, V]: the visual tokens that show what each question is about."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_shared(self) -> int:
        """How many tokens all questions see."""
        return int((self.part == 0).sum())


@dataclass(slots=True)
class _Row:
    ids: list[int] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)

    def add(self, ids: Sequence[int], positions: Tensor, part: int) -> None:
        self.ids += ids
        self.positions.append(positions)
        self.parts += [part] * len(ids)
        self.targets += [NO_LABEL] * len(ids)

    def text(self, content: str, start: int, part: int = 0) -> int:
        """Add text at this position; gives the position behind it."""
        ids = token_ids(content)
        self.add(ids, text_positions(start, len(ids)), part)
        return start + len(ids)


def write(
    scene: EncodedScene,
    kept: Mapping[int, Tensor],
    firsts: Mapping[int, int],
    looks: Sequence[Look],
    questions: Sequence[TruthQuestion],
    rng: np.random.Generator,
    *,
    is_moved: bool,
) -> Context:
    """The tokens of the kept rows and of all questions. `is_moved`: far along in a stream."""
    # Streams run for hours: times and positions begin anywhere.
    base = round(float(rng.choice([0.0, rng.uniform(0, 100), rng.uniform(0, 4000)])), 1)
    row = _Row()
    cursor = row.text(_TURN_START, 0)
    if is_moved and rng.random() < 0.3:
        cursor += int(rng.integers(0, 20_000))
    before = None
    for clip, rows in kept.items():
        if before is not None and clip > before + 1:
            cursor += _CLIP_POSITIONS * (clip - before - 1)
            if is_moved and rng.random() < 0.3:
                cursor += int(rng.integers(0, 5_000))  # the service forgets for minutes
        if before is not None and (missed := _missed(scene, before, clip)):
            cursor += int(rng.integers(0, min(_CLIP_POSITIONS * missed, _MOST_MISSED)))
        before = clip
        if len(rows):
            seconds = base + scene.looks[scene.encoded[clip]].seconds
            cursor = _write_clip(row, rows, seconds, cursor)
    for number, question in enumerate(questions, start=1):
        _write_question(row, question, base, cursor, number)
    shown = [(clip, rows) for clip, rows in kept.items() if len(rows)]
    ids = torch.tensor(row.ids)
    visits = [visit for clip, rows in shown for visit in scene.owners[clip][rows].tolist()]
    told = {clip: base + scene.looks[scene.encoded[clip]].seconds for clip, _ in shown}
    times = [told[clip] for clip, rows in shown for _ in rows]
    arrived = [told[firsts[visit]] if visit >= 0 else None for visit in visits]
    stayed = [
        None if began is None else now - began + 1
        for now, began in zip(times, arrived, strict=True)
    ]
    arrivals = _arrival_labels(scene, shown, firsts, looks)
    earlier, kinds_before = _earlier(scene, shown, firsts, looks)
    return Context(
        ids=ids.clamp_min(0),
        positions=torch.cat(row.positions),
        part=torch.tensor(row.parts),
        targets=torch.tensor(row.targets),
        is_visual=ids == _VISUAL,
        features=torch.cat([scene.features[clip][rows] for clip, rows in shown]),
        deepstack=torch.cat([scene.deepstack[:, clip][:, rows] for clip, rows in shown], dim=1),
        dense=torch.cat(
            [
                arrivals,
                _digits(times, TIME_DIGITS),
                _digits(arrived, TIME_DIGITS),
                kinds_before,
                _digits(stayed, STAY_DIGITS),
            ],
            dim=1,
        ),
        visits=torch.tensor(visits),
        earlier=earlier,
        questions=tuple(questions),
        evidence=evidence(scene, shown, looks, questions),
    )


def _missed(scene: EncodedScene, before: int, clip: int) -> int:
    """Seconds between two clips that no look was taken at."""
    first, last = (scene.encoded[each] for each in (before, clip))
    times = [look.seconds for look in scene.looks[first : last + 1]]
    return round(times[-1] - times[0]) - (last - first)


def _write_clip(row: _Row, rows: Tensor, seconds: float, cursor: int) -> int:
    cursor = row.text(f"<{seconds:.1f} seconds><|vision_start|>", cursor)
    cells = torch.stack([torch.zeros_like(rows), rows // CELLS, rows % CELLS], dim=1)
    positions, cursor = place_by_order(cells, (1, CELLS, CELLS), cursor)
    row.add([_VISUAL] * len(rows), positions, 0)
    return row.text("<|vision_end|>", cursor)


def _write_question(
    row: _Row, question: TruthQuestion, base: float, cursor: int, number: int
) -> None:
    text, answer = _later(question, base)
    cursor = row.text(text + _TURN_END, cursor, number)
    answer += _ANSWER_END
    first = len(row.targets) - 1  # the token before the answer says its first
    row.text(answer, cursor, number)
    ids = token_ids(answer)
    row.targets[first : first + len(ids)] = ids


def _later(question: TruthQuestion, base: float) -> tuple[str, str]:
    """Question and answer of a stream `base` seconds older, its times as the clips tell them."""
    told = f"{base + question.event_seconds:.1f} seconds"
    if question.family == "at_time":
        whole = f"{told.partition('.')[0]} seconds"
        return re.sub(r"\d+ seconds", whole, question.text), question.answer
    if question.family == "when" and question.group == "past":
        return question.text, told
    return question.text, question.answer


def _digits(times: Sequence[float | None], count: int) -> Tensor:
    """int64 [V, count]."""
    rows = []
    for seconds in times:
        whole = "" if seconds is None else str(int(round(seconds, 1)))[::-1]
        digits = [int(each) for each in whole[:count]]
        rows.append(digits + [NO_LABEL] * (count - len(digits)))
    return torch.tensor(rows)


def _arrival_labels(
    scene: EncodedScene,
    shown: Sequence[tuple[int, Tensor]],
    firsts: Mapping[int, int],
    looks: Sequence[Look],
) -> Tensor:
    """int64 [V, 3], the first of `Context.dense`."""
    kinds = {s.visit: s.thing.kind for look in looks for s in look.present}  # by first look
    labels: dict[int, tuple[int, int]] = {}
    seen: dict[object, int] = {}
    for ordinal, (visit, kind) in enumerate(kinds.items()):
        coming = seen[kind] = seen.get(kind, 0) + 1
        labels[visit] = min(ordinal, ORDINALS - 1), min(coming, COMINGS - 1)
    rows = []
    for clip, kept in shown:
        for visit in scene.owners[clip][kept].tolist():
            if visit in labels:
                ordinal, coming = labels[visit]
                rows.append((ordinal, int(firsts[visit] == clip), coming))
            else:
                rows.append((NO_LABEL, NO_LABEL, NO_LABEL))
    return torch.tensor(rows)


def _earlier(
    scene: EncodedScene,
    shown: Sequence[tuple[int, Tensor]],
    firsts: Mapping[int, int],
    looks: Sequence[Look],
) -> tuple[Tensor, Tensor]:
    """int64 [V], `Context.earlier`, and [V, 2], the colours and shapes of `Context.dense`."""
    kinds = {s.visit: s.thing.kind for look in looks for s in look.present}  # by first look
    known = {visit: (-1, NOBODY, NOBODY) for visit in list(kinds)[:1]}
    for one, visit in pairwise(kinds):
        if firsts[one] < firsts[visit]:
            kind = kinds[one]
            color, shape = 1 + list(COLORS).index(kind.color), 1 + SHAPES.index(kind.shape)
            known[visit] = one, color, shape
    rows = []
    for clip, kept in shown:
        for visit in scene.owners[clip][kept].tolist():
            arrives = visit in known and firsts[visit] == clip
            rows.append(known[visit] if arrives else (-1, NO_LABEL, NO_LABEL))
    told = torch.tensor(rows)
    return told[:, 0], told[:, 1:]


@lru_cache(maxsize=100_000)
def token_ids(text: str) -> tuple[int, ...]:
    """Of our own text: special tokens in it are special."""
    return tuple(tokenizer()(text, add_special_tokens=False).input_ids)
