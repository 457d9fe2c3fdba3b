"""Times that people name in a question, as stretches of UTC: `read_time`. Pure; asks no clock."""

from streamvlm.when.resolve import NamedTime, read_time
from streamvlm.when.zones import zone_named

__all__ = ["NamedTime", "read_time", "zone_named"]
