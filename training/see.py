"""First stage: the vision tower alone learns to say what covers each cell.

Whole pictures crowded with things, and a dense loss: every cell says the colour, shape, size,
place, motion and number of what covers it. End to end from scratch shapes are hardly learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset

from streamvlm.encode.preprocess import preprocess
from streamvlm.evaluate.world.cells import LABELS, UNKNOWN, cell_labels
from streamvlm.evaluate.world.render import PICTURE, render
from streamvlm.evaluate.world.truth import look
from training.architecture import CELLS, HIDDEN, SPEC
from training.crowd import crowds
from training.leg import LOG_EVERY, Leg, is_bfloat16_fast, progress_bar, rate_at
from training.optimiser import MuonWithAdamW

FIRST_SEED = 1_000_000_000
CLIPS_A_SCRIPT = 4
_EMPTY_WEIGHT = 0.15
"""Most cells are empty: what is there counts more."""
_HARD = {"shape": 2.0, "digit_1": 2.0, "digit_2": 2.0, "digit_3": 2.0}
_DEEP_WEIGHT = 0.3
_READING_STEPS = 200
_READING_RATE = 1e-2


class CrowdedClips(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches (patches float32 [B*256, 1536], labels int64 [B, 64, labels]) without end."""

    def __init__(self, first_seed: int, clips: int, device: str) -> None:
        self._seed, self._clips, self._device = first_seed, clips, device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            pixels, labels = [], []
            for _ in range(self._clips // CLIPS_A_SCRIPT):
                script, times = crowds(self._seed, CLIPS_A_SCRIPT)
                self._seed += 1
                both = [time + half for time in times for half in (0.0, 0.5)]
                frames = render(script, both, height=PICTURE, width=PICTURE, device=self._device)
                pixels.append(frames.unflatten(0, (CLIPS_A_SCRIPT, 2)))
                labels += [cell_labels(look(script, time), CELLS, CELLS) for time in times]
            patches, _ = preprocess(torch.cat(pixels), SPEC, self._device)
            yield patches, torch.stack(labels).to(self._device)


class CellHeads(nn.Module):
    """Linear readers of both kinds of features; of no use after training."""

    def __init__(self) -> None:
        super().__init__()
        self.final = nn.Linear(HIDDEN, sum(LABELS.values()))
        self.deep = nn.Linear(HIDDEN, sum(LABELS.values()))

    def loss(
        self, features: Tensor, deepstack: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss, and for each label the accuracy where something is. `features` and `deepstack`
        [B*64, D], `labels` [B, 64, labels].
        """
        targets = labels.flatten(0, 1)
        total, accuracies = _cell_loss(self.final(features), targets)
        deep, _ = _cell_loss(self.deep(deepstack), targets)
        return total + _DEEP_WEIGHT * deep, accuracies


def _cell_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, float]]:
    total, accuracies = logits.new_zeros(()), {}
    for index, (name, rows) in enumerate(
        zip(LABELS, logits.split(list(LABELS.values()), dim=-1), strict=True)
    ):
        target = targets[:, index]
        weights = torch.where(target > 0, 1.0, _EMPTY_WEIGHT) * (target != UNKNOWN)
        losses = cross_entropy(rows, target, ignore_index=UNKNOWN, reduction="none")
        total = total + _HARD.get(name, 1.0) * (losses * weights).sum() / weights.sum()
        is_something = target > 0
        accuracies[name] = float((rows.argmax(-1) == target)[is_something].float().mean())
    return total, accuracies


def see(leg: Leg, model: Any) -> None:
    """Train the tower until the stage's steps are done or the leg is over.

    Where a language model has learnt from the tower already, the readers stay as they are (of a
    checkpoint, which has none, they are learnt first): what it looks for stays where it is.
    """
    settings, visual = leg.settings, model.model.visual
    heads = CellHeads().to(settings.device)
    parts: dict[str, nn.Module] = {"visual": visual, "cell_heads": heads}
    optimiser = MuonWithAdamW(visual.blocks, visual, heads)
    known = leg.restore("see", parts, optimiser)
    grid = torch.tensor([[1, 2 * CELLS, 2 * CELLS]] * settings.see_clips, device=settings.device)
    first_seed = FIRST_SEED + leg.steps["see"] * settings.see_clips
    clips = CrowdedClips(first_seed, settings.see_clips, settings.device)
    is_cpu = settings.device == "cpu"
    data = iter(DataLoader(clips, batch_size=None, num_workers=1) if is_cpu else clips)
    if leg.steps["answer"] > 0:
        if "cell_heads" not in known:
            _learn_to_read(visual, heads, data, grid)
        heads.requires_grad_(False)
    since = leg.steps["see"] if optimiser.is_new else 0
    leg.begin("see")
    with progress_bar("see") as bar:
        task = bar.add_task("see", total=settings.see_steps, loss=0.0)
        while leg.steps["see"] < settings.see_steps and not leg.is_over:
            step = leg.steps["see"]
            patches, labels = next(data)
            loss, accuracies = heads.loss(*_seen(visual, patches, grid), labels)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(optimiser.parameters, 1.0)
            share = leg.share_done("see", settings.see_steps)
            optimiser.step(rate_at(share, settings.see_rate, steps_known=step - since))
            leg.steps["see"] += 1
            leg.note({"loss": loss.detach(), **accuracies})
            bar.update(task, completed=leg.steps["see"], loss=float(loss.detach()))
            if leg.steps["see"] % LOG_EVERY == 0:
                leg.log("see")
            if leg.is_save_due:
                leg.save("see", parts, optimiser)
    leg.save("see", parts, optimiser)


def _learn_to_read(
    visual: Any, heads: CellHeads, data: Iterator[tuple[Tensor, Tensor]], grid: Tensor
) -> None:
    """Train the readers of a tower that stays as it is."""
    optimiser = torch.optim.AdamW(heads.parameters(), weight_decay=0.0)
    for step in range(_READING_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = _READING_RATE * min(1.0, 2 - 2 * step / _READING_STEPS)
        patches, labels = next(data)
        with torch.no_grad():
            seen = _seen(visual, patches, grid)
        loss, _ = heads.loss(*seen, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _seen(visual: Any, patches: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Features and deepstack features [B*64, D] of the patches of B clips."""
    device = grid.device.type
    with torch.autocast(device, torch.bfloat16, enabled=is_bfloat16_fast(device)):
        output = visual(patches, grid_thw=grid)
    return output.pooler_output.float(), output.deepstack_features[0].float()
