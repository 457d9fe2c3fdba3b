"""The test camera answers as RTSP asks, and is as broken as it is told to be."""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import numpy as np
import pytest

from streamvlm.capture import SourceAddress
from streamvlm.capture.live import LiveSource
from streamvlm.evaluate import rtsp_camera
from streamvlm.evaluate.rtsp_camera import RtspCamera, scene_units
from streamvlm.evaluate.rtsp_server import RtspServer
from streamvlm.evaluate.world.render import render
from streamvlm.evaluate.world.script import Pace, Script
from streamvlm.types import ClockSource, Frame, GridRule, SourceReport

URL = "rtsp://127.0.0.1/camera"
SIDE = 128
BUSY = Pace(between=0.5, stay=(0.5, 1.0), quiet_share=0.0, trouble_every=0.0)
NTP_TO_UNIX_SECONDS = 2_208_988_800


@asynccontextmanager
async def serving(
    *, seconds: float = 1.0, is_live: bool = False
) -> AsyncIterator[tuple[RtspServer, int]]:
    units = scene_units("moving", seconds=seconds, fps=10, sizes=((64, 64),))
    server = RtspServer(units, 10, is_live=is_live)
    try:
        yield server, await server.start()
    finally:
        await server.close()


class Client:
    """Just enough of an RTSP client to see what is answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, method: str, url: str = URL, *headers: str) -> str:
        lines = [f"{method} {url} RTSP/1.0", "CSeq: 7", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode())
        return await self.answer()

    async def answer(self) -> str:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode()
        assert "CSeq: 7" in head
        _, found, length = head.partition("Content-Length: ")
        body = await self.reader.readexactly(int(length.split("\r\n")[0])) if found else b""
        return head + body.decode()

    async def packet(self) -> tuple[int, bytes]:
        """The next RTP (0) or RTCP (1) packet; raises IncompleteReadError at the end."""
        header = await asyncio.wait_for(self.reader.readexactly(4), 5)
        assert header[:1] == b"$"
        return header[1], await self.reader.readexactly(int.from_bytes(header[2:], "big"))


@asynccontextmanager
async def talking(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def test_each_request_gets_the_answer_of_the_standard() -> None:
    async with serving() as (_, port), talking(port) as client:
        assert "Public: OPTIONS, DESCRIBE" in await client.ask("OPTIONS")
        assert "sprop-parameter-sets=" in await client.ask("DESCRIBE")
        assert "404 Not Found" in await client.ask("DESCRIBE", "rtsp://127.0.0.1/other")
        udp = "Transport: RTP/AVP;unicast;client_port=5000-5001"
        assert "461 Unsupported Transport" in await client.ask("SETUP", URL, udp)
        assert "200 OK" in await client.ask("GET_PARAMETER")
        # An RTCP packet of the client between two requests is no request.
        client.writer.write(b"$\x01\x00\x04abcd")
        tcp = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
        assert "interleaved=0-1" in await client.ask("SETUP", URL, tcp)


async def test_play_sends_a_sender_report_then_pictures_to_each_client() -> None:
    async with serving() as (server, port), talking(port) as one, talking(port) as other:
        for client in (one, other):
            assert "200 OK" in await client.ask("PLAY")
            for wanted_channel, payload_type in ((1, 200), (0, 96)):
                channel, packet = await client.packet()
                assert channel == wanted_channel
                assert packet[1] & (0xFF if channel else 0x7F) == payload_type
        assert server.num_connections == 2


async def test_credentials_are_asked_for() -> None:
    async with serving() as (server, port), talking(port) as client:
        server.credentials = "bob:secret"
        assert 'WWW-Authenticate: Basic realm="camera"' in await client.ask("DESCRIBE")
        right = "Authorization: Basic Ym9iOnNlY3JldA=="
        assert "200 OK" in await client.ask("DESCRIBE", URL, right)


def test_a_camera_keeps_its_address_when_it_is_killed_and_started_again() -> None:
    with RtspCamera(seconds=0.5) as camera:
        url = camera.url
        camera.kill()
        camera.kill()
        camera.start()
        assert camera.url == url


def test_a_camera_that_cannot_start_says_so() -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        RtspCamera(scene="nope").start()


async def test_who_comes_late_joins_a_live_programme_at_a_whole_second() -> None:
    async with serving(seconds=30.0, is_live=True) as (server, port):
        await asyncio.sleep(0.2)
        async with talking(port) as client:
            await client.ask("PLAY")
            channel, report = await client.packet()
            assert channel == 1
            seconds, fraction, timestamp = struct.unpack(">III", report[8:20])
            since_began = seconds - NTP_TO_UNIX_SECONDS + fraction / 2**32
            since_began -= server.began.utc_seconds
            assert round(since_began) >= 1
            assert since_began == pytest.approx(round(since_began), abs=1e-4)
            assert timestamp == 0
            _, packet = await client.packet()
            nal_type = packet[12] & 0x1F
            assert nal_type == 7  # parameter sets come with keyframes only


async def test_a_live_programme_plays_once_and_then_hangs_up() -> None:
    async with serving(seconds=3.0, is_live=True) as (_, port), talking(port) as client:
        await client.ask("PLAY")
        timestamps = set[int]()
        with pytest.raises(asyncio.IncompleteReadError):
            while True:
                channel, packet = await client.packet()
                if channel == 0:
                    timestamps.add(int.from_bytes(packet[4:8], "big"))
    assert len(timestamps) in (10, 20)  # without the second in which it came
    assert sorted(timestamps) == [index * 9_000 for index in range(len(timestamps))]


def seen_of(camera: RtspCamera) -> list[Frame]:
    """The frames of its programme until it hangs up."""
    rule = GridRule(cell_pixels=32, min_pixels=32 * 32, max_pixels=SIDE * SIDE)
    source = LiveSource(
        "door",
        SourceAddress.parse(camera.url),
        fps=2.0,
        rule=rule,
        open_timeout_seconds=5.0,
        read_timeout_seconds=5.0,
    )
    frames = list[Frame]()
    with closing(iter(source)) as items:  # type: ignore[type-var]
        for item in items:
            if isinstance(item, Frame):
                frames.append(item)
            elif isinstance(item, SourceReport) and item.reason:
                break
    source.close()
    return frames


def difference(frames: list[Frame], script: Script, seconds: list[float]) -> float:
    """Mean squared difference, in grey levels, to the script at these seconds."""
    truth = render(script, seconds, height=SIDE, width=SIDE).numpy().astype(np.float64)
    return float(np.mean((truth - np.stack([frame.pixels for frame in frames])) ** 2))


def test_a_world_shows_at_each_utc_what_its_script_says() -> None:
    with RtspCamera(world=3, pace=BUSY, seconds=5.0, sizes=((SIDE, SIDE),)) as camera:
        began, script = camera.began_utc_seconds, camera.script
        frames = seen_of(camera)
    assert began is not None and script.seconds == 5.0
    assert len(frames) >= 3
    assert {frame.time.clock for frame in frames} == {ClockSource.RTCP_SR}
    seconds = [frame.time.utc_seconds - began for frame in frames]
    late = [each + 0.2 for each in seconds]
    assert difference(frames, script, seconds) < 60
    assert difference(frames, script, late) > 2 * difference(frames, script, seconds)


def test_a_scene_has_no_script() -> None:
    with pytest.raises(ValueError, match="no truth"):
        _ = RtspCamera().script


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--world=-1"], "a seed is a whole number"),
        (["--world=1", "--size=64x64", "--size=96x96"], "one size only"),
        (["--world=1", "--size=64x96"], "--size=64x96 is not"),
    ],
)
def test_what_a_world_cannot_be_is_refused(
    arguments: list[str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["rtsp_camera", *arguments])
    with pytest.raises(SystemExit):
        rtsp_camera.main()
    assert problem in capsys.readouterr().err
