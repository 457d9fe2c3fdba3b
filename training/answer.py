"""Second stage: the language model learns to answer from what the trained tower sees.

The tower is frozen, so a scene is encoded once and many contexts are drawn from it. Besides the
answers, attention is told where to look (`pointing`) and visual tokens what to tell (`reading`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from streamvlm.evaluate.world.questions import TruthQuestion
from training.batch import Batch, answer_states, marks
from training.contexts import Range, draw
from training.feed import batches
from training.leg import LOG_EVERY, Leg, is_bfloat16_fast, progress_bar, rate_at
from training.naming import name_what_is_seen
from training.optimiser import MuonWithAdamW
from training.pointing import arrival_pointing_loss, pointing_loss
from training.reading import TimeHeads
from training.scenes import scenes
from training.settings import Settings
from training.shared_attention import Attended
from training.writing import Context

HELD_OUT_SEED = 800_000_000
_MEASURE_EVERY = 500
_SHOW_EVERY = 10
_READING_STEPS = 60
_READING_RATE = 1e-2
_DENSE_WEIGHT = 0.3
_POINTING_WEIGHT = 0.3
_FEATURE_SIZE = 0.3
"""Root mean square that features begin with: near that of words, so that what the first layers add
to a visual token is not lost beside it."""


def answer(leg: Leg, model: Any) -> None:
    """Train the language model until the stage's steps are done or the leg is over."""
    settings, step = leg.settings, leg.steps["answer"]
    visual, text = model.model.visual, model.model.language_model
    heads = TimeHeads().to(settings.device)
    parts: dict[str, nn.Module] = {"visual": visual, "text": text, "time_heads": heads}
    optimiser = MuonWithAdamW(text.layers, text, heads)
    found = leg.restore("answer", parts, optimiser)
    visual.eval().requires_grad_(False)
    if not step:
        _even_out(visual, settings)
        name_what_is_seen(model, settings)
    on_the_way: list[Tensor] = []
    for layer in (text.layers[0], text.layers[len(text.layers) // 2 - 1]):
        layer.register_forward_hook(lambda _module, _inputs, output: on_the_way.append(output))
    made = batches(visual, settings, step)
    held_out = _held_out(visual, settings)
    if step and "time_heads" not in found:
        _learn_to_read(model, heads, made, on_the_way)
    since = step if optimiser.is_new else 0
    marked: list[tuple[Sequence[TruthQuestion], Tensor]] = []
    leg.begin("answer")
    with progress_bar("answer") as bar:
        task = bar.add_task("answer", total=settings.answer_steps, loss=0.0)
        while leg.steps["answer"] < settings.answer_steps and not leg.is_over:
            asked = time.monotonic()
            batch = next(made).to(settings.device)
            leg.note({"waited_seconds": time.monotonic() - asked})
            share = leg.share_done("answer", settings.answer_steps)
            known = leg.steps["answer"] - since
            rate = rate_at(share, settings.answer_rate, steps_known=known)
            logits, figures = _step(model, heads, batch, on_the_way, optimiser, rate)
            leg.steps["answer"] += 1
            leg.note(figures)
            marked.append((batch.questions, marks(logits, batch)))
            if leg.steps["answer"] % _SHOW_EVERY == 0:
                bar.update(task, completed=leg.steps["answer"], loss=float(figures["loss"]))
            if leg.steps["answer"] % LOG_EVERY == 0:
                leg.note(_accuracies(marked))
                marked.clear()
                is_due = leg.steps["answer"] % _MEASURE_EVERY == 0
                leg.log("answer", measure(model, held_out, settings.device) if is_due else None)
            if leg.is_save_due:
                leg.save("answer", parts, optimiser)
    leg.save("answer", parts, optimiser)


def _step(
    model: Any,
    heads: TimeHeads,
    batch: Batch,
    on_the_way: list[Tensor],
    optimiser: MuonWithAdamW,
    rate: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits [A, V] before the step, and figures []."""
    states, attended = _forward(model, batch, on_the_way)
    logits = model.lm_head(states.float())
    answer_loss = cross_entropy(logits, batch.targets)
    first, middle = (each.flatten(0, 1)[batch.visual_at].float() for each in on_the_way)
    dense_loss, accuracies = heads.loss(first, middle, batch.dense)
    pointed_loss, share = pointing_loss(attended, batch)
    arrival_loss, own_share, earlier_share = arrival_pointing_loss(attended, batch)
    optimiser.zero_grad()
    pointing = _POINTING_WEIGHT * (pointed_loss + arrival_loss)
    (answer_loss + _DENSE_WEIGHT * dense_loss + pointing).backward()
    nn.utils.clip_grad_norm_(optimiser.parameters, 1.0)
    optimiser.step(rate)
    pointed = {
        "pointing": share,
        "pointing_at_arrivals": own_share,
        "pointing_earlier": earlier_share,
    }
    return logits.detach(), {"loss": answer_loss.detach(), **accuracies, **pointed}


def _forward(model: Any, batch: Batch, on_the_way: list[Tensor]) -> tuple[Tensor, Attended]:
    """`answer_states`, in bfloat16 where that is fast; leaves what the two layers gave."""
    on_the_way.clear()
    device = batch.ids.device.type
    with torch.autocast(device, torch.bfloat16, enabled=is_bfloat16_fast(device)):
        return answer_states(model, batch)


def _learn_to_read(
    model: Any, heads: TimeHeads, made: Iterator[Batch], on_the_way: list[Tensor]
) -> None:
    """Train the readers of a language model that stays as it is: a checkpoint has none, and what
    new ones ask for would undo what it knows.
    """
    optimiser = torch.optim.AdamW(heads.parameters(), weight_decay=0.0)
    for step, batch in enumerate(islice(made, _READING_STEPS)):
        for group in optimiser.param_groups:
            group["lr"] = _READING_RATE * min(1.0, 2 - 2 * step / _READING_STEPS)
        batch.to(next(heads.parameters()).device.type)
        with torch.no_grad():
            _forward(model, batch, on_the_way)
            first, middle = (each.flatten(0, 1)[batch.visual_at].float() for each in on_the_way)
        optimiser.zero_grad()
        heads.loss(first, middle, batch.dense)[0].backward()
        optimiser.step()


def _held_out(visual: Any, settings: Settings) -> list[Context]:
    """Contexts of scenes that training never sees, with nothing left out."""
    rng = np.random.default_rng(0)
    span = Range(is_full=True, split="test", max_tokens=4800)
    made = scenes(visual, count(HELD_OUT_SEED), settings.device, settings.scene_seconds)
    drawn = [draw(next(made), rng, span) for _ in range(settings.held_out_scenes)]
    return [context for context in drawn if context is not None]


@torch.no_grad()
def measure(model: Any, held_out: list[Context], device: str) -> dict[str, float]:
    """Accuracy of each family and, in brackets, of each group."""
    marked = []
    for first in range(0, len(held_out), 4):
        batch = Batch(held_out[first : first + 4]).to(device)
        states, _ = answer_states(model, batch)
        marked.append((batch.questions, marks(model.lm_head(states), batch)))
    return {name: round(share, 3) for name, share in sorted(_accuracies(marked).items())}


def _accuracies(marked: Sequence[tuple[Sequence[TruthQuestion], Tensor]]) -> dict[str, float]:
    """Of each family and, in brackets, of each group."""
    tallies: dict[str, list[bool]] = defaultdict(list)
    for questions, is_right in marked:
        for question, right in zip(questions, is_right.tolist(), strict=True):
            tallies[question.family].append(right)
            tallies[f"[{question.group}]"].append(right)
    return {name: sum(each) / len(each) for name, each in tallies.items()}


@torch.no_grad()
def _even_out(visual: Any, settings: Settings) -> None:
    """Scale the mergers so that all features have a root mean square of `_FEATURE_SIZE`."""
    source = scenes(visual, count(HELD_OUT_SEED - 4), settings.device, settings.scene_seconds)
    seen = list(islice(source, 4))
    features = torch.cat([scene.features for scene in seen])
    deepstack = torch.cat([scene.deepstack for scene in seen], dim=1)
    mergers = [visual.merger, *visual.deepstack_merger_list]
    for merger, made in zip(mergers, [features, *deepstack], strict=True):
        size = float(made.float().pow(2).mean().sqrt())
        merger.linear_fc2.weight *= _FEATURE_SIZE / size
        merger.linear_fc2.bias *= _FEATURE_SIZE / size
