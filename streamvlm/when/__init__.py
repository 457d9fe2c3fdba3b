"""Times that people name in a question: as stretches of UTC by `read_time`, or counted from the
stream's beginning by `read_stream_time`. Pure; asks no clock.
"""

from streamvlm.when.resolve import EXACT_SECONDS, NamedTime, read_time
from streamvlm.when.stream_time import StreamMoment, read_stream_time
from streamvlm.when.zones import zone_named

__all__ = [
    "EXACT_SECONDS",
    "NamedTime",
    "StreamMoment",
    "read_stream_time",
    "read_time",
    "zone_named",
]
