"""What was erased is in no file of the service, and told as a gap; what cannot be is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from services import keys
from services.event_log import EventLog
from services.letters import Letter, Letters
from services.redaction import Redaction
from services.store import Store
from streamvlm.alerts import Alert, AlertState
from streamvlm.client import Client
from streamvlm.config import Config
from streamvlm.errors import ErasureError, InvalidInputError, StreamNotFoundError
from streamvlm.gaps import ERASED
from streamvlm.types import AnswerStarted, Sampling, UtcInterval
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1 import time_pb2 as pb_time
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceStub
from tests.services.serving import START_UTC, Serving, frames, push_stream, small_config, until
from tests.services.test_event_log import alert
from tests.services.test_rules import always
from tests.test_erase import found_on_disk, of_blocks


def span(start_seconds: float, end_seconds: float) -> UtcInterval:
    """Of pushed frames, two a second and a block a second."""
    return UtcInterval(start_seconds=START_UTC + start_seconds, end_seconds=START_UTC + end_seconds)


def config() -> Config:
    """Each clip but the newest is a block at once, and soon on the disk."""
    small = small_config().model_dump()
    small["reduce"] = {"name": "all"}
    small["remember"] |= {"segment_clips": 1, "budget_bytes": 2**26, "snapshot_seconds": 0.05}
    small["respond"] |= {"fresh_clips": 1}
    return Config.model_validate(small)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "all"


@pytest.fixture
def erasing(folder: Path) -> Iterator[tuple[Client, Serving]]:
    with Serving(config(), folder=folder) as serving, Client(serving.address) as client:
        yield client, serving


def pictures_of(client: Client) -> list[bytes]:
    """Some bytes of each picture in the alerts."""
    events = [each.event for each in client.list_events()]
    return [
        each.thumbnail[200:264] for each in events if isinstance(each, Alert) and each.thumbnail
    ]


def test_no_file_of_the_service_holds_what_was_erased(
    erasing: tuple[Client, Serving], folder: Path
) -> None:
    """Blocks in snapshots, pictures of alerts in what Redis writes; nothing comes back with a
    restart.
    """
    client, serving = erasing
    client.create_rule(always(stream_ids=frozenset({"door"})))
    push_stream(client, "door")
    until(lambda: len(list(folder.rglob("block-*"))) == 5)
    until(lambda: bool(pictures_of(client)))
    pictures = pictures_of(client)
    until(lambda: bool(found_on_disk(folder, pictures)))  # Redis writes once a second
    blocks = serving.services.host.engine._streams.get("door").pipeline.memory.blocks
    gone, kept = of_blocks(blocks[1:]), of_blocks(blocks[:1])
    del blocks
    assert len(found_on_disk(folder, gone)) == 4
    erased = client.erase_stream("door", span(1.2, 6.5))
    assert found_on_disk(folder, [*gone, *pictures]) == []
    assert len(found_on_disk(folder, kept)) == 1 and pictures_of(client) == []
    assert (erased.num_blocks, erased.num_clips) == (4, 1) and erased.num_events >= 1
    whens = [(each.start.pts_seconds, each.end.pts_seconds) for each in erased.intervals]
    assert whens == [(1.0, 6.0), (6.0, 6.5)]
    started, *_ = client.ask("door", "What was there?", Sampling(max_new_tokens=4))
    assert isinstance(started, AnswerStarted)
    gap = started.gaps[0]  # behind it there may be one since nobody pushes
    assert (gap.reason, gap.interval.start.pts_seconds, gap.interval.end.pts_seconds) == (
        ERASED, 1.0, 6.5,
    )  # fmt: skip
    assert len(started.evidence) == 1
    serving.stop()
    with Serving(config(), folder=folder) as again, Client(again.address) as client:
        until(lambda: client.get_stream("door").memory.blocks == 1)
        assert found_on_disk(folder, [*gone, *pictures]) == []


def test_everything_so_far_can_go_and_the_stream_goes_on(
    erasing: tuple[Client, Serving],
) -> None:
    client, _ = erasing
    push_stream(client, "door")
    erased = client.erase_stream("door", UtcInterval())
    assert (erased.num_blocks, erased.num_clips) == (5, 1)
    assert client.get_stream("door").memory.blocks == 0
    list(client.push_frames("door", frames(4, first=12)))
    until(lambda: client.get_stream("door").memory.blocks == 1)


def test_what_makes_no_sense_has_a_status_and_changes_nothing(
    erasing: tuple[Client, Serving],
) -> None:
    client, serving = erasing
    push_stream(client, "door", 4)
    with grpc.insecure_channel(serving.address) as channel:
        stub = StreamServiceStub(channel)
        seconds = int(START_UTC)
        backwards = pb.EraseStreamRequest(
            stream_id="door",
            during=pb_time.UtcInterval(
                start=Timestamp(seconds=seconds + 3), end=Timestamp(seconds=seconds)
            ),
        )
        with pytest.raises(grpc.RpcError) as raised:
            stub.EraseStream(backwards, timeout=20)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        unknown = pb.EraseStreamRequest(stream_id="window", during=pb_time.UtcInterval())
        with pytest.raises(grpc.RpcError) as raised:
            stub.EraseStream(unknown, timeout=20)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        no_time = pb.EraseStreamRequest(
            stream_id="door", during=pb_time.UtcInterval(end=Timestamp(seconds=2**60))
        )
        for senseless in (no_time, pb.EraseStreamRequest(stream_id="door")):
            with pytest.raises(grpc.RpcError) as raised:
                stub.EraseStream(senseless, timeout=20)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ErasureError, match="must have happened"):
        client.erase_stream("door", UtcInterval(end_seconds=time.time() + 3600))
    with pytest.raises(StreamNotFoundError):
        client.erase_stream("window", UtcInterval())
    with pytest.raises(InvalidInputError, match="cannot be a stream id"):
        client.erase_stream("../door", UtcInterval())
    assert client.get_stream("door").memory.blocks == 1


async def test_alerts_of_other_times_and_streams_stay(store: Store) -> None:
    log, pictured = EventLog(store), {"state": AlertState.FIRING, "thumbnail": b"\xff\xd8picture"}
    await log.publish(alert(1, alert_id="early", **pictured), epoch=0)
    await log.publish(alert(5, alert_id="late", **pictured), epoch=0)
    await log.publish(alert(1, alert_id="other", stream_id="yard", **pictured), epoch=0)
    letters = Letters(store, "ops")
    await store.redis.xgroup_create(keys.EVENTS, "webhook:ops", id="0")
    for entry in (await log.before(None, 9))[::-1]:
        await store.redis.xreadgroup("webhook:ops", "one", {keys.EVENTS: ">"}, count=1)
        await letters.bury(Letter(entry), "refused")
    assert await Redaction(store).erase("door", span(0.0, 3.0)) == 1
    assert [each.event.alert.alert_id for each in await log.before(None, 9)] == ["other", "late"]
    dead = await store.redis.xrange(keys.route("ops", "dead"))
    assert [fields[b"event"].count(b"early") for _, fields in dead] == [0, 0]
    open_alerts = {each.stream_id: each.thumbnail for each in await log.open_alerts()}
    assert open_alerts == {"door": b"\xff\xd8picture", "yard": b"\xff\xd8picture"}
    assert await Redaction(store).erase("door", UtcInterval()) == 1
    open_alerts = {each.stream_id: each.thumbnail for each in await log.open_alerts()}
    assert open_alerts == {"door": b"", "yard": b"\xff\xd8picture"}
