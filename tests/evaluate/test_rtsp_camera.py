"""The test camera answers as RTSP asks, and is as broken as it is told to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamvlm.evaluate.rtsp_camera import RtspCamera, scene_units
from streamvlm.evaluate.rtsp_server import RtspServer

URL = "rtsp://127.0.0.1/camera"


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[RtspServer, int]]:
    units = scene_units("moving", seconds=1.0, fps=10, sizes=((64, 64),))
    server = RtspServer(units, 10)
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
            for channel, payload_type in ((1, 200), (0, 96)):
                header = await asyncio.wait_for(client.reader.readexactly(4), 5)
                assert header[:2] == bytes((ord("$"), channel))
                packet = await client.reader.readexactly(int.from_bytes(header[2:], "big"))
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
