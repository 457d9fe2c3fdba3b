"""Remember: closed segments as immutable KV blocks, on the device and in the tiers below it, each
under a byte budget, found again by what they show; in snapshots they outlive a restart.
"""

from streamvlm.remember.manifest import Counters
from streamvlm.remember.memory import KVMemory
from streamvlm.remember.recall import NOTHING
from streamvlm.remember.settings import DEFAULTS, RecallSettings
from streamvlm.remember.shared import SharedBudget
from streamvlm.remember.shelves import sweep
from streamvlm.remember.snapshot import Snapshot, SnapshotFolder
from streamvlm.remember.tiers import Rung, Storage, forms_of
from streamvlm.remember.within import Stretch

__all__ = [
    "DEFAULTS",
    "NOTHING",
    "Counters",
    "KVMemory",
    "RecallSettings",
    "Rung",
    "SharedBudget",
    "Snapshot",
    "SnapshotFolder",
    "Storage",
    "Stretch",
    "forms_of",
    "sweep",
]
