"""Second stage: the language model learns to answer from what the trained tower sees.

The tower is frozen, so a scene is encoded once and many contexts are drawn from it. Besides the
answers, attention is told where to look (`pointing`) and visual tokens what to tell (`reading`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset

from training.batch import Batch, answer_states, marks
from training.contexts import Range, draw
from training.leg import LOG_EVERY, Leg, is_bfloat16_fast, progress_bar, rate_at
from training.naming import name_what_is_seen
from training.optimiser import MuonWithAdamW
from training.pointing import arrival_pointing_loss, pointing_loss
from training.reading import TimeHeads
from training.scenes import EncodedScene, scenes
from training.settings import Settings
from training.writing import Context

FIRST_SEED = 1_000_000
HELD_OUT_SEED = 800_000_000
_MEASURE_EVERY = 500
_DENSE_WEIGHT = 0.3
_POINTING_WEIGHT = 0.3
_FEATURE_SIZE = 0.3
"""Root mean square that features begin with: near that of words, so that what the first layers add
to a visual token is not lost beside it."""


class Scenes(IterableDataset[EncodedScene]):
    """Encoded scenes without end."""

    def __init__(self, visual: Any, first_seed: int, settings: Settings) -> None:
        self._visual, self._seed, self._settings = visual, first_seed, settings

    def __iter__(self) -> Iterator[EncodedScene]:
        settings = self._settings
        return scenes(self._visual, self._seed, settings.device, settings.scene_seconds)


class Pool:
    """The newest scenes, from which contexts are drawn."""

    def __init__(self, source: Iterator[EncodedScene], settings: Settings, seed: int) -> None:
        self._source, self._most = source, settings.pool_scenes
        self._rng = np.random.default_rng((seed, 9))
        self._scenes = [self._next() for _ in range(settings.first_scenes)]
        self._oldest = 0

    def renew(self) -> None:
        """One new scene, in place of the oldest where the pool is full."""
        if len(self._scenes) < self._most:
            self._scenes.append(self._next())
            return
        self._scenes[self._oldest] = self._next()
        self._oldest = (self._oldest + 1) % self._most

    def _next(self) -> EncodedScene:
        scene = next(self._source)
        # A worker's tensors hold shared memory and open files, of which there are not enough.
        return replace(
            scene,
            features=scene.features.clone(),
            deepstack=scene.deepstack.clone(),
            owners=scene.owners.clone(),
        )

    def contexts(self, count: int, span: Range) -> list[Context]:
        """So many contexts of scenes chosen at random."""
        drawn: list[Context] = []
        while len(drawn) < count:
            scene = self._scenes[self._rng.integers(len(self._scenes))]
            context = draw(scene, self._rng, span)
            if context is not None:
                drawn.append(context)
        return drawn


def answer(leg: Leg, model: Any) -> None:
    """Train the language model until the stage's steps are done or the leg is over."""
    settings, step = leg.settings, leg.steps["answer"]
    visual, text = model.model.visual, model.model.language_model
    heads = TimeHeads().to(settings.device)
    parts: dict[str, nn.Module] = {"visual": visual, "text": text, "time_heads": heads}
    optimiser = MuonWithAdamW(text.layers, text, heads)
    leg.restore("answer", parts, optimiser)
    visual.eval().requires_grad_(False)
    if not step:
        _even_out(visual, settings)
        name_what_is_seen(model, settings)
    on_the_way: list[Tensor] = []
    for layer in (text.layers[0], text.layers[len(text.layers) // 2 - 1]):
        layer.register_forward_hook(lambda _module, _inputs, output: on_the_way.append(output))
    held_out = _held_out(visual, settings)
    source = Scenes(visual, FIRST_SEED + step * 10, settings)
    is_cpu = settings.device == "cpu"
    made = iter(DataLoader(source, batch_size=None, num_workers=1) if is_cpu else source)
    pool = Pool(made, settings, step)
    since = step if optimiser.is_new else 0
    leg.begin("answer")
    with progress_bar("answer") as bar:
        task = bar.add_task("answer", total=settings.answer_steps, loss=0.0)
        while leg.steps["answer"] < settings.answer_steps and not leg.is_over:
            step = leg.steps["answer"]
            if step % settings.steps_a_scene == 0:
                pool.renew()
            span, rows = _range_at(step, settings)
            batch = Batch(pool.contexts(rows, span), settings.device)
            rate = rate_at(step, settings.answer_steps, settings.answer_rate, since=since)
            loss = _step(leg, model, heads, batch, on_the_way, optimiser, rate)
            leg.steps["answer"] += 1
            bar.update(task, completed=step + 1, loss=loss)
            if leg.steps["answer"] % LOG_EVERY == 0:
                is_due = leg.steps["answer"] % _MEASURE_EVERY == 0
                leg.log("answer", measure(model, held_out, settings.device) if is_due else None)
            if leg.is_save_due:
                leg.save("answer", parts, optimiser)
    leg.save("answer", parts, optimiser)


def _step(
    leg: Leg,
    model: Any,
    heads: TimeHeads,
    batch: Batch,
    on_the_way: list[Tensor],
    optimiser: MuonWithAdamW,
    rate: float,
) -> float:
    device = leg.settings.device
    on_the_way.clear()
    with torch.autocast(device, torch.bfloat16, enabled=is_bfloat16_fast(device)):
        states, attended = answer_states(model, batch)
    logits = model.lm_head(states.float())
    answer_loss = cross_entropy(logits, batch.targets[batch.is_target])
    first, middle = (each[batch.is_visual].float() for each in on_the_way)
    dense_loss, accuracies = heads.loss(first, middle, batch.dense)
    pointed_loss, share = pointing_loss(attended, batch)
    arrival_loss, *arrival_shares = arrival_pointing_loss(attended, batch)
    optimiser.zero_grad()
    pointing = _POINTING_WEIGHT * (pointed_loss + arrival_loss)
    (answer_loss + _DENSE_WEIGHT * dense_loss + pointing).backward()
    nn.utils.clip_grad_norm_(optimiser.parameters, 1.0)
    optimiser.step(rate)
    leg.note({"loss": float(answer_loss.detach()), **accuracies})
    leg.note({"pointing": share})
    leg.note(dict(zip(("pointing_at_arrivals", "pointing_earlier"), arrival_shares, strict=True)))
    for question, is_right in marks(logits.detach(), batch):
        leg.note({question.family: float(is_right), f"[{question.group}]": float(is_right)})
    return float(answer_loss.detach())


def _range_at(step: int, settings: Settings) -> tuple[Range, int]:
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


def _held_out(visual: Any, settings: Settings) -> list[Context]:
    """Contexts of scenes that training never sees, with nothing left out."""
    rng = np.random.default_rng(0)
    span = Range(is_full=True, split="test", max_tokens=4800)
    made = iter(Scenes(visual, HELD_OUT_SEED, settings))
    drawn = [draw(next(made), rng, span) for _ in range(settings.held_out_scenes)]
    return [context for context in drawn if context is not None]


@torch.no_grad()
def measure(model: Any, held_out: list[Context], device: str) -> dict[str, float]:
    """Accuracy of each family and, in brackets, of each group."""
    tallies: dict[str, list[bool]] = defaultdict(list)
    for first in range(0, len(held_out), 4):
        batch = Batch(held_out[first : first + 4], device)
        states, _ = answer_states(model, batch)
        logits = model.lm_head(states)
        for question, is_right in marks(logits, batch):
            tallies[question.family].append(is_right)
            tallies[f"[{question.group}]"].append(is_right)
    return {name: round(sum(each) / len(each), 3) for name, each in sorted(tallies.items())}


@torch.no_grad()
def _even_out(visual: Any, settings: Settings) -> None:
    """Scale the mergers so that all features have a root mean square of `_FEATURE_SIZE`."""
    source = iter(Scenes(visual, HELD_OUT_SEED - 4, settings))
    seen = [next(source) for _ in range(4)]
    features = torch.cat([scene.features for scene in seen])
    deepstack = torch.cat([scene.deepstack for scene in seen], dim=1)
    mergers = [visual.merger, *visual.deepstack_merger_list]
    for merger, made in zip(mergers, [features, *deepstack], strict=True):
        size = float(made.float().pow(2).mean().sqrt())
        merger.linear_fc2.weight *= _FEATURE_SIZE / size
        merger.linear_fc2.bias *= _FEATURE_SIZE / size
