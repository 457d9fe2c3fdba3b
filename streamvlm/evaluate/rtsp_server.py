"""A small RTSP 1.0 server for one H.264 programme over TCP, with faults on demand. For tests."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from streamvlm.capture.clock import Instant
from streamvlm.capture.h264 import NAL_PPS, NAL_SPS, AccessUnit, nal_type
from streamvlm.evaluate.rtp import CLOCK_HZ, PAYLOAD_TYPE, RtpSender

logger = logging.getLogger(__name__)

SENDER_REPORT_SECONDS = 2.0
_MAX_REQUEST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What the camera does wrong, on every connection. The defaults are a healthy camera.

    A further fault is a field here and a line in `_Conversation`; the command line of `rtsp_camera`
    follows by itself.
    """

    mute: bool = False
    """Accepts connections and never answers."""
    stall_after_seconds: float | None = None
    """Sends nothing any more after this time of play; the connection stays."""
    pictures_stop_after_seconds: float | None = None
    """Sends no picture any more after this time of play, only sender reports."""
    cut_after_seconds: float | None = None
    """Closes the connection after this time of play."""
    no_sender_reports: bool = False
    """Never tells the time."""
    clock_offset_seconds: float = 0.0
    """How far the camera's clock is ahead."""
    first_timestamp: int = 0
    """RTP timestamp of the first picture of a connection; near 2**32 it wraps soon."""


class Programme(Protocol):
    """Access units by their number; each whole second begins with a keyframe."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> AccessUnit: ...


@dataclass(slots=True)
class RtspServer:
    """Plays `units` to every client at `fps`, in a loop, each from the start; or live.

    A live programme begins when the server starts, is the same to all and plays once: who comes
    late joins in at the next whole second, and at its end the server hangs up. `credentials` is
    "user:password", asked for by Basic authentication, or None.
    """

    units: Programme
    fps: int
    is_live: bool = False
    mount: str = "camera"
    credentials: str | None = None
    faults: Faults = field(default_factory=Faults)
    num_connections: int = 0
    """Clients that ever connected."""
    began: Instant = field(default_factory=Instant.now)
    """When the programme began, where it is live."""
    _server: asyncio.Server | None = None
    _clients: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen and return the port; 0 chooses a free one."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_REQUEST_BYTES)
        self.began = Instant.now()
        bound_port: int = self._server.sockets[0].getsockname()[1]
        return bound_port

    def next_keyframe_index(self) -> int:
        """Where one who comes now joins a live programme."""
        return math.ceil(time.monotonic() - self.began.monotonic_seconds) * self.fps

    async def close(self) -> None:
        """Stop listening and cut all clients off."""
        if self._server is not None:
            self._server.close()
        for client in tuple(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await _Conversation(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            logger.debug("a client is gone")
        finally:
            self._clients.discard(task)
            writer.close()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str]


class _Conversation:
    """One client: its requests are answered while `_play` sends pictures on the same connection."""

    def __init__(
        self, server: RtspServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server, self._reader, self._writer = server, reader, writer
        self._player: asyncio.Task[None] | None = None
        self._session = f"Session: {server.num_connections:08x}"

    async def run(self) -> None:
        try:
            while request := await self._read_request():
                if self._server.faults.mute:
                    continue
                self._answer(request)
                await self._writer.drain()
                if request.method == "TEARDOWN":
                    return
        finally:
            if self._player is not None:
                self._player.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await self._player

    async def _read_request(self) -> _Request | None:
        """The next request, None at the end. RTCP from the client, framed with `$`, is skipped."""
        while (first := await self._reader.read(1)) == b"$":
            header = await self._reader.readexactly(3)
            await self._reader.readexactly(int.from_bytes(header[1:], "big"))
        if not first:
            return None
        head = (first + await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.strip().split("\r\n")
        method, url, _ = line.split(" ", 2)
        headers = {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)}
        await self._reader.readexactly(int(headers.get("content-length", 0)))
        return _Request(method, url, headers)

    def _answer(self, request: _Request) -> None:
        server = self._server
        if request.method == "OPTIONS":
            self._reply(request, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
        elif not self._is_welcome(request):
            self._reply(
                request, 'WWW-Authenticate: Basic realm="camera"', status="401 Unauthorized"
            )
        elif urlsplit(request.url).path.strip("/").split("/")[0] != server.mount:
            self._reply(request, status="404 Not Found")
        elif request.method == "DESCRIBE":
            base = f"Content-Base: {request.url.rstrip('/')}/"
            self._reply(request, base, "Content-Type: application/sdp", body=self._description())
        elif request.method == "SETUP" and "TCP" not in request.headers.get("transport", ""):
            self._reply(request, status="461 Unsupported Transport")
        elif request.method == "SETUP":
            transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
            self._reply(request, transport, f"{self._session};timeout=60")
        else:
            self._reply(request, self._session)
            if request.method == "PLAY" and self._player is None:
                self._player = asyncio.create_task(self._play())

    def _is_welcome(self, request: _Request) -> bool:
        if self._server.credentials is None:
            return True
        token = base64.b64encode(self._server.credentials.encode()).decode()
        return request.headers.get("authorization") == f"Basic {token}"

    def _reply(
        self, request: _Request, *headers: str, status: str = "200 OK", body: str = ""
    ) -> None:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {request.headers.get('cseq', '0')}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def _description(self) -> str:
        """The programme in SDP (RFC 4566) with its first parameter sets."""
        nals = self._server.units[0]
        sps = next(nal for nal in nals if nal_type(nal) == NAL_SPS)
        pps = next(nal for nal in nals if nal_type(nal) == NAL_PPS)
        sets = ",".join(base64.b64encode(nal).decode() for nal in (sps, pps))
        lines = (
            "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=streamvlm test camera", "c=IN IP4 0.0.0.0",
            "t=0 0", "a=control:*", f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={sps[1:4].hex()};"
            f"sprop-parameter-sets={sets}",
            "a=control:trackID=0", "",
        )  # fmt: skip
        return "\r\n".join(lines)

    async def _play(self) -> None:
        """Send pictures in their own time until the client leaves or a fault says otherwise."""
        server, faults, sender = self._server, self._server.faults, RtpSender()
        began = server.began if server.is_live else Instant.now()
        first = server.next_keyframe_index() if server.is_live else 0
        index, next_report_seconds = first, 0.0
        while not (server.is_live and index >= len(server.units)):
            played_seconds = (index - first) / server.fps
            timestamp = faults.first_timestamp + (index - first) * CLOCK_HZ // server.fps
            unit = server.units[index % len(server.units)]
            due_seconds = began.monotonic_seconds + index / server.fps
            await asyncio.sleep(max(0.0, due_seconds - time.monotonic()))
            if _is_over(faults.cut_after_seconds, played_seconds):
                break
            if _is_over(faults.stall_after_seconds, played_seconds):
                return
            if played_seconds >= next_report_seconds and not faults.no_sender_reports:
                # When the picture was due and not when it is sent: late is not wrong.
                utc_seconds = began.utc_seconds + index / server.fps + faults.clock_offset_seconds
                self._writer.write(sender.report(timestamp, utc_seconds))
                next_report_seconds += SENDER_REPORT_SECONDS
            if not _is_over(faults.pictures_stop_after_seconds, played_seconds):
                self._writer.write(sender.picture(unit, timestamp))
            await self._writer.drain()
            index += 1
        self._writer.close()


def _is_over(limit_seconds: float | None, played_seconds: float) -> bool:
    return limit_seconds is not None and played_seconds >= limit_seconds
