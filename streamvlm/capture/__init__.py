"""Sources of pictures to clips. The engine needs `open_feed`; everything else is behind it."""

from streamvlm.capture.address import SourceAddress, SourceKind
from streamvlm.capture.feed import Feed
from streamvlm.capture.opening import open_feed
from streamvlm.capture.push import PushFeed
from streamvlm.capture.thumbnail import thumbnail
from streamvlm.capture.waiting import ENGINE_LATE

__all__ = [
    "ENGINE_LATE",
    "Feed",
    "PushFeed",
    "SourceAddress",
    "SourceKind",
    "open_feed",
    "thumbnail",
]
