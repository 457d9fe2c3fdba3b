"""What happens where the device has no memory left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from streamvlm.errors import CapacityError


@contextmanager
def device_may_be_full(purpose: str) -> Iterator[None]:
    """Raise CapacityError where the device has no memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise CapacityError(f"the device has no memory {purpose}") from error
