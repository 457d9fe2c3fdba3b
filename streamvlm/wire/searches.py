"""Searches and what they found, on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from streamvlm.errors import InvalidInputError
from streamvlm.types import Found, Moment, Search, UtcInterval
from streamvlm.wire.times import (
    interval_from_proto,
    interval_to_proto,
    utc_interval_from_proto,
    utc_interval_to_proto,
)
from streamvlm.wire.v1 import query_service_pb2 as pb

MAX_STREAMS = 1000
"""That one search may name."""


def search_request(
    text: str, stream_ids: Iterable[str], during: UtcInterval | None, most: int
) -> pb.SearchRequest:
    """What a client looks for."""
    stated = Search(text=text, stream_ids=tuple(stream_ids), during=during, most=most)
    return search_to_proto(stated)


def search_to_proto(search: Search) -> pb.SearchRequest:
    """What somebody looks for."""
    return pb.SearchRequest(
        text=search.text,
        stream_ids=search.stream_ids,
        during=utc_interval_to_proto(search.during) if search.during else None,
        top_k=search.most,
    )


def search_from_proto(message: pb.SearchRequest) -> Search:
    """What somebody looks for, each stream once. Raises InvalidInputError."""
    stream_ids = tuple(dict.fromkeys(message.stream_ids))
    if len(stream_ids) > MAX_STREAMS:
        raise InvalidInputError(
            f"{len(stream_ids)} streams to search; at most {MAX_STREAMS} can be named"
        )
    return Search(
        text=message.text,
        stream_ids=stream_ids,
        during=utc_interval_from_proto(message.during) if message.HasField("during") else None,
        most=message.top_k or Search(text="").most,
    )


def found_to_proto(found: Found) -> pb.SearchResponse:
    """What a search found."""
    moments = [
        pb.Moment(
            stream_id=each.stream_id,
            interval=interval_to_proto(each.interval),
            score=each.score,
            block_id=each.block_id,
        )
        for each in found.moments
    ]
    return pb.SearchResponse(
        moments=moments,
        searched_stream_ids=found.searched,
        unsearched_stream_ids=found.unsearched,
    )


def found_from_proto(message: pb.SearchResponse) -> Found:
    """What a search found."""
    moments = [
        Moment(
            stream_id=each.stream_id,
            interval=interval_from_proto(each.interval),
            score=each.score,
            block_id=each.block_id,
        )
        for each in message.moments
    ]
    return Found(
        moments=tuple(moments),
        searched=tuple(message.searched_stream_ids),
        unsearched=tuple(message.unsearched_stream_ids),
    )
