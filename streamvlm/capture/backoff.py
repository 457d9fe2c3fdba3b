"""How long to wait before a camera is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from streamvlm.errors import SourceAuthError, SourceError


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Full jitter: a random wait below a bound that doubles with each failure in a row.

    A site's cameras come back together after a power cut; the jitter keeps them from being called
    in step. tenacity's strategies need its own retry loop around one function, and this one is a
    generator that reports while it waits.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    refused_seconds: float = 60.0
    """After a refused password: some cameras lock an account that is tried too often."""
    healthy_seconds: float = 60.0
    """A connection that lasted this long clears the record."""
    random: random.Random = field(default_factory=random.Random, repr=False)
    _num_failures: int = 0

    def wait_seconds(self, failure: SourceError, *, lived_seconds: float) -> float:
        """How long to wait after this failure of a connection that was live for `lived_seconds`."""
        if lived_seconds >= self.healthy_seconds:
            self._num_failures = 0
        if isinstance(failure, SourceAuthError):
            return self.refused_seconds
        # The exponent is capped too: after a year offline the power would not fit a float.
        doubled_seconds = self.first_seconds * 2.0 ** min(self._num_failures, 32)
        self._num_failures += 1
        bound_seconds = min(self.longest_seconds, doubled_seconds)
        return self.random.uniform(self.first_seconds / 4, bound_seconds)
