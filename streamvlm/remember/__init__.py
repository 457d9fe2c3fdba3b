"""Remember: closed segments as immutable KV blocks under a byte budget, found again by what they
show; in snapshots they outlive a restart.
"""

from streamvlm.remember.manifest import Counters
from streamvlm.remember.memory import KVMemory
from streamvlm.remember.recall import NOTHING
from streamvlm.remember.settings import DEFAULTS, RecallSettings
from streamvlm.remember.snapshot import Snapshot, SnapshotFolder
from streamvlm.remember.within import Stretch

__all__ = [
    "DEFAULTS",
    "NOTHING",
    "Counters",
    "KVMemory",
    "RecallSettings",
    "Snapshot",
    "SnapshotFolder",
    "Stretch",
]
