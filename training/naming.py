"""Words begin where the tower puts what they name.

The embedding of "red" starts in the direction in which features of red things lie, and so on. The
model's output is read with the same embeddings, so looking something up and saying it need hardly
be learnt; by itself a model of this size finds out late that questions can be looked up.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from streamvlm.evaluate.world.cells import LABELS, UNKNOWN
from streamvlm.evaluate.world.things import COLORS, DIRECTIONS, SHAPES, SIZES, ZONES
from training.architecture import CELLS, turn
from training.see import FIRST_SEED, CrowdedClips
from training.settings import Settings
from training.writing import token_ids

_BATCHES, _BATCH_CLIPS = 12, 16
_LENGTH = 0.8
"""Of a word's embedding, as long as others are at first."""


@torch.no_grad()
def name_what_is_seen(model: Any, settings: Settings) -> None:
    """Set the embeddings of all words for colours, shapes, sizes, places, ways and digits."""
    directions: dict[str, list[Tensor]] = defaultdict(list)
    for (label, number), direction in _directions(model.model.visual, settings).items():
        for word in _words(label, number):
            directions[word].append(direction)
    embeddings = model.model.language_model.embed_tokens.weight
    rotation = turn().to(settings.device)
    for word, found in directions.items():
        mean = torch.stack(found).mean(dim=0)
        for text in (word, f" {word}"):
            ids = token_ids(text)
            if len(ids) == 1:
                embeddings[ids[0]] = _LENGTH * rotation @ (mean / mean.norm())


def _words(label: str, number: int) -> list[str]:
    """What people call a class of a label; a zone has up to two words."""
    if label.startswith("digit"):
        return [str(number - 1)]
    names = {
        "color": [*COLORS],
        "shape": [*SHAPES],
        "size": [*SIZES],
        "zone": [zone for row in ZONES for zone in row],
        "motion": ["still", *DIRECTIONS],
    }
    return names[label][number - 1].split() if label in names else []


def _directions(visual: Any, settings: Settings) -> dict[tuple[str, int], Tensor]:
    """(label, class) -> unit [D]: where features of the class lie, seen from those of all."""
    features, labels = _seen(visual, settings)
    found = {}
    for index, name in enumerate(LABELS):
        column = labels[:, index]
        known = features[(column > 0) & (column != UNKNOWN)]
        for number in range(1, LABELS[name]):
            own = features[column == number]
            if len(own):
                direction = own.mean(dim=0) - known.mean(dim=0)
                found[name, number] = direction / direction.norm().clamp_min(1e-6)
    return found


def _seen(visual: Any, settings: Settings) -> tuple[Tensor, Tensor]:
    """Features [N, D] and labels [N, labels] of some crowds."""
    clips = iter(CrowdedClips(FIRST_SEED + 500_000_000, _BATCH_CLIPS, settings.device))
    grid = torch.tensor([[1, 2 * CELLS, 2 * CELLS]] * _BATCH_CLIPS, device=settings.device)
    features, labels = [], []
    for _ in range(_BATCHES):
        patches, truth = next(clips)
        features.append(visual(patches, grid_thw=grid).pooler_output)
        labels.append(truth.flatten(0, 1))
    return torch.cat(features), torch.cat(labels)
