"""What visual tokens are made to tell on their way through the language model, a dense loss.

Whole contexts give a few answers to learn from, but thousands of visual tokens: each says when its
clip was, when its thing arrived, which arrival that is, what had arrived before, and how long it
has been there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from streamvlm.evaluate.world.things import COLORS, SHAPES
from training.architecture import HIDDEN
from training.writing import COMINGS, NO_LABEL, ORDINALS, STAY_DIGITS, TIME_DIGITS

_DIGIT_NAMES = tuple(
    f"{time}_{digit}" for time in ("clip", "arrival") for digit in range(TIME_DIGITS)
)


class TimeHeads(nn.Module):
    """Linear readers of the visual tokens, of no use after training: behind the first layer they
    tell their clip's time, half-way all of `Context.dense`.
    """

    SIZES = (ORDINALS, 2, COMINGS, *[10] * 2 * TIME_DIGITS)
    NAMES = ("which_arrival", "arrived_now", "which_coming", *_DIGIT_NAMES)
    MORE_SIZES = (1 + len(COLORS), 1 + len(SHAPES), *[10] * STAY_DIGITS)
    MORE_NAMES = (
        "color_before",
        "shape_before",
        *(f"stay_{digit}" for digit in range(STAY_DIGITS)),
    )
    EARLY = slice(3, 3 + TIME_DIGITS)

    def __init__(self) -> None:
        super().__init__()
        self.reader = nn.Linear(HIDDEN, sum(self.SIZES))
        self.early = nn.Linear(HIDDEN, sum(self.SIZES[self.EARLY]))
        self.more = nn.Linear(HIDDEN, sum(self.MORE_SIZES))

    def loss(
        self, first: Tensor, middle: Tensor, dense: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and the accuracy of each label, NaN where nothing has it; `first`, `middle`
        [V, D] are the states behind the first layer and half-way, `dense` int64 [V, labels].
        """
        early = self.early(first).split(self.SIZES[self.EARLY], dim=-1)
        more = self.more(middle).split(self.MORE_SIZES, dim=-1)
        read = [*self.reader(middle).split(self.SIZES, dim=-1), *more, *early]
        labels = torch.cat([dense, dense[:, self.EARLY]], dim=1)
        early_names = [f"early_{name}" for name in self.NAMES[self.EARLY]]
        names = [*self.NAMES, *self.MORE_NAMES, *early_names]
        total, accuracies = middle.new_zeros(()), {}
        for name, rows, target in zip(names, read, labels.T, strict=True):
            count = (target != NO_LABEL).sum()
            losses = cross_entropy(rows, target, ignore_index=NO_LABEL, reduction="sum")
            total = total + losses / count.clamp_min(1)
            accuracies[name] = (rows.detach().argmax(-1) == target).sum() / count
        return total, accuracies
