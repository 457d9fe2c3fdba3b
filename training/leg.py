"""One leg of a training run: it begins where the last one ended and stops in time.

A folder holds the run: `weights.safetensors`, 16-bit and small enough to hand around, `exact.pt`
with full precision and the optimiser, which may be lost, `progress.json` and `log.jsonl`.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.settings import Settings

LOG_EVERY = 100
_WARM_UP = 200
SAVE_SECONDS = 240.0


class Optimiser(Protocol):
    """What a leg keeps of an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """All that it has learnt."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        ...


class Leg:
    """What stages share: weights, optimiser, clock, log. `parts` are trained or kept by name."""

    def __init__(
        self, folder: Path, settings: Settings, minutes: float, *, is_last: bool = False
    ) -> None:
        """`is_last`: no leg follows, and the learning rate comes down within this one."""
        folder.mkdir(parents=True, exist_ok=True)
        self.settings, self._folder, self._is_last = settings, folder, is_last
        self._began, self._seconds = time.monotonic(), minutes * 60
        self._sums: dict[str, list[float | Tensor]] = defaultdict(list)
        self._saved_at = self._logged_at = time.monotonic()
        self._logged_step = 0
        progress = folder / "progress.json"
        known = json.loads(progress.read_text()) if progress.exists() else {}
        self.steps: dict[str, int] = {"see": 0, "answer": 0, **known}

    @property
    def is_over(self) -> bool:
        """Whether the leg's time is up."""
        return time.monotonic() - self._began >= self._seconds

    def share_done(self, stage: str, steps: int) -> float:
        """How much of a stage of so many steps is done, or of a last leg's time if that is more."""
        by_steps = self.steps[stage] / steps
        if not self._is_last:
            return by_steps
        return max(by_steps, (time.monotonic() - self._began) / self._seconds)

    def restore(self, stage: str, parts: dict[str, nn.Module], optimiser: Optimiser) -> set[str]:
        """Load what an earlier leg left of these parts, if there was one; the names of those found.

        Raises FileNotFoundError where there was one and its weights are gone.
        """
        weights, optimisers = self._left()
        if known := optimisers.get(stage):
            optimiser.load_state_dict(known)
        found = {name: own for name in parts if (own := of_part(weights, name))}
        for name, own in found.items():
            parts[name].load_state_dict(own)
        return set(found)

    def save(self, stage: str, parts: dict[str, nn.Module], optimiser: Optimiser) -> None:
        """Leave everything for the next leg; parts that are not given stay as they were saved."""
        weights = dict(self._left()[0])
        for name, part in parts.items():
            weights |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        state = {"weights": weights, "optimisers": {stage: optimiser.state_dict()}}
        halves = {key: value.half().contiguous().clone() for key, value in weights.items()}
        progress = json.dumps(self.steps)
        _replace(self._folder / "exact.pt", lambda path: torch.save(state, path))
        _replace(self._folder / "weights.safetensors", lambda path: save_file(halves, path))
        _replace(self._folder / "progress.json", lambda path: path.write_text(progress))
        self._saved_at = time.monotonic()

    def _left(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and optimisers that an earlier leg left; empty where there was none."""
        exact, rounded = self._folder / "exact.pt", self._folder / "weights.safetensors"
        if exact.exists():
            state = torch.load(exact, map_location="cpu")
            return state["weights"], state["optimisers"]
        if rounded.exists():
            return load_file(rounded), {}
        if (self._folder / "progress.json").exists():
            raise FileNotFoundError(f"{self._folder} has done steps, but has no {rounded.name}")
        return {}, {}

    def begin(self, stage: str) -> None:
        """The steps of a stage begin now."""
        self._logged_at, self._logged_step = time.monotonic(), self.steps[stage]

    @property
    def is_save_due(self) -> bool:
        """Whether so much time went by that losing it would hurt."""
        return time.monotonic() - self._saved_at > SAVE_SECONDS

    def note(self, values: Mapping[str, float | Tensor]) -> None:
        """Figures of one step; their means are logged now and then. Tensors [] are read only then:
        a GPU need not wait.
        """
        for name, value in values.items():
            self._sums[name].append(value)

    def log(self, stage: str, held_out: dict[str, float] | None = None) -> None:
        """Write the means of what was noted since the last time."""
        now = time.monotonic()
        line: dict[str, Any] = {"stage": stage, "step": self.steps[stage]}
        num_steps = self.steps[stage] - self._logged_step
        line["steps_a_second"] = round(num_steps / (now - self._logged_at), 3)
        means = {name: _mean(values) for name, values in self._sums.items()}
        line |= {name: round(mean, 4) for name, mean in means.items() if mean == mean}
        if held_out:
            line["held_out"] = held_out
        with (self._folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        self._sums.clear()
        self._logged_at, self._logged_step = now, self.steps[stage]


def progress_bar(stage: str) -> Progress:
    """A bar for a stage's steps with its newest loss."""
    return Progress(
        TextColumn(f"[bold]{stage}[/]"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )


def rate_at(share: float, highest: float, *, steps_known: int) -> float:
    """The learning rate with this share of all done: up in the first steps of an optimiser, which
    has done `steps_known`, level, and down in the last two fifths of all.
    """
    down = max(0.02, min(1.0, (1 - share) / 0.4))
    return highest * min(1.0, (steps_known + 1) / _WARM_UP) * down


def _mean(values: list[float | Tensor]) -> float:
    """Of those that are numbers: nothing of a sort in a batch gives NaN. NaN where none is."""
    return float(torch.stack([torch.as_tensor(each).float() for each in values]).nanmean())


def is_bfloat16_fast(device: str) -> bool:
    """Whether products of matrices are worked out faster in bfloat16."""
    return device != "cpu" or torch.cpu._is_avx512_bf16_supported()


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file in one step: a leg that is killed leaves the old one."""
    beside = path.with_suffix(".new")
    write(beside)
    beside.replace(path)


def of_part(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The state of one part, float32, from weights named `part.key`; empty where it has none."""
    start = f"{name}."
    return {
        key.removeprefix(start): value.float()
        for key, value in weights.items()
        if key.startswith(start)
    }
