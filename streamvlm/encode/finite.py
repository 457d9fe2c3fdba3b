"""What the vision tower made of a clip must be numbers."""

from __future__ import annotations

import torch

from streamvlm.types import VisualTokens


def check_finite(tokens: VisualTokens) -> None:
    """Raise ValueError for what would poison all that is compared with it or attends to it."""
    parts = [tokens.features] if tokens.deepstack is None else [tokens.features, tokens.deepstack]
    # One boolean for all: on a GPU each one read costs a synchronisation.
    if not torch.stack([part.isfinite().all() for part in parts]).all():
        raise ValueError(f"the clip at {tokens.pts_seconds:.2f} s has features that are not finite")
