"""Streams and their status on the wire."""

from __future__ import annotations

from streamvlm.types import FeedStatus, MemoryStatus, SourceState, StreamStatus, TierStatus
from streamvlm.wire.times import (
    duration_from_proto,
    duration_to_proto,
    gap_from_proto,
    gap_to_proto,
    instant_from_proto,
    instant_to_proto,
    interval_from_proto,
    interval_to_proto,
    member_from_proto,
    member_to_proto,
    timestamp_from_proto,
    timestamp_to_proto,
)
from streamvlm.wire.v1 import stream_service_pb2 as pb


def feed_to_proto(feed: FeedStatus) -> pb.FeedStatus:
    """How a source is doing."""
    return pb.FeedStatus(
        state=member_to_proto("SOURCE_STATE_", feed.state),
        reason=feed.reason,
        message=feed.message,
        frames_decoded=feed.frames_decoded,
        frames_sampled=feed.frames_sampled,
        clips_dropped=feed.clips_dropped,
        reconnects=feed.reconnects,
        gaps_total=feed.gaps_total,
        gap_duration=duration_to_proto(feed.gap_seconds_total),
        clips_waiting=feed.clips_waiting,
        last_frame=instant_to_proto(feed.last_frame) if feed.last_frame else None,
        blind=gap_to_proto(feed.blind) if feed.blind else None,
    )


def feed_from_proto(message: pb.FeedStatus) -> FeedStatus:
    """How a source is doing."""
    return FeedStatus(
        state=member_from_proto(SourceState, pb.SourceState, "SOURCE_STATE_", message.state),
        reason=message.reason,
        message=message.message,
        frames_decoded=message.frames_decoded,
        frames_sampled=message.frames_sampled,
        clips_dropped=message.clips_dropped,
        reconnects=message.reconnects,
        gaps_total=message.gaps_total,
        gap_seconds_total=duration_from_proto(message.gap_duration),
        clips_waiting=message.clips_waiting,
        last_frame=instant_from_proto(message.last_frame)
        if message.HasField("last_frame")
        else None,
        blind=gap_from_proto(message.blind) if message.HasField("blind") else None,
    )


def memory_to_proto(memory: MemoryStatus) -> pb.MemoryStatus:
    """What a stream remembers."""
    return pb.MemoryStatus(
        blocks=memory.blocks,
        kv_bytes=memory.kv_bytes,
        budget_bytes=memory.budget_bytes,
        evicted_blocks=memory.evicted_blocks,
        clips_encoded=memory.clips_encoded,
        clips_unchanged=memory.clips_unchanged,
        tokens_seen=memory.tokens_seen,
        tokens_kept=memory.tokens_kept,
        reduction_bytes=memory.reduction_bytes,
        fresh_clips=memory.fresh_clips,
        remembered=interval_to_proto(memory.remembered) if memory.remembered else None,
        gaps=map(gap_to_proto, memory.gaps),
        lost_blocks=memory.lost_blocks,
        tiers=[
            pb.TierStatus(
                tier=each.tier,
                form=each.form,
                blocks=each.blocks,
                num_tokens=each.num_tokens,
                num_bytes=each.num_bytes,
            )
            for each in memory.tiers
        ],
    )


def memory_from_proto(message: pb.MemoryStatus) -> MemoryStatus:
    """What a stream remembers."""
    return MemoryStatus(
        blocks=message.blocks,
        kv_bytes=message.kv_bytes,
        budget_bytes=message.budget_bytes,
        evicted_blocks=message.evicted_blocks,
        clips_encoded=message.clips_encoded,
        clips_unchanged=message.clips_unchanged,
        tokens_seen=message.tokens_seen,
        tokens_kept=message.tokens_kept,
        reduction_bytes=message.reduction_bytes,
        fresh_clips=message.fresh_clips,
        remembered=interval_from_proto(message.remembered)
        if message.HasField("remembered")
        else None,
        gaps=tuple(map(gap_from_proto, message.gaps)),
        lost_blocks=message.lost_blocks,
        tiers=tuple(
            TierStatus(
                tier=each.tier,
                form=each.form,
                blocks=each.blocks,
                num_tokens=each.num_tokens,
                num_bytes=each.num_bytes,
            )
            for each in message.tiers
        ),
    )


def stream_to_proto(status: StreamStatus) -> pb.Stream:
    """One stream as a listing shows it."""
    return pb.Stream(
        stream_id=status.stream_id,
        source=status.source,
        create_time=timestamp_to_proto(status.created_utc_seconds),
        feed=feed_to_proto(status.feed),
        memory=memory_to_proto(status.memory),
        time_zone=status.time_zone,
    )


def stream_from_proto(message: pb.Stream) -> StreamStatus:
    """One stream as a listing shows it."""
    return StreamStatus(
        stream_id=message.stream_id,
        source=message.source,
        created_utc_seconds=timestamp_from_proto(message.create_time),
        feed=feed_from_proto(message.feed),
        memory=memory_from_proto(message.memory),
        time_zone=message.time_zone or "UTC",
    )
