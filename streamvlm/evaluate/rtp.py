"""RTP for H.264 (RFC 3550, 6184) in RTSP's interleaved framing (RFC 2326, 10.12). No sockets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from streamvlm.capture.h264 import AccessUnit

CLOCK_HZ = 90_000
"""Ticks of an RTP timestamp in a second, for any video."""
PAYLOAD_TYPE = 96
_NTP_TO_UNIX_SECONDS = 2_208_988_800
_MAX_PAYLOAD_BYTES = 1_400
_FU_A = 28


@dataclass(slots=True)
class RtpSender:
    """The sending side of one RTP session: numbers the packets and counts them for the reports."""

    ssrc: int = 0x1234
    _sequence: int = 0
    _num_packets: int = 0
    _num_bytes: int = 0

    def picture(self, unit: AccessUnit, timestamp: int) -> bytes:
        """All packets of one access unit, framed for channel 0. `timestamp` wraps at 2**32."""
        payloads = [payload for nal in unit for payload in _payloads(nal)]
        return b"".join(
            self._packet(payload, timestamp, is_last=index == len(payloads) - 1)
            for index, payload in enumerate(payloads)
        )

    def report(self, timestamp: int, utc_seconds: float) -> bytes:
        """An RTCP sender report for channel 1: at `utc_seconds` the RTP clock shows `timestamp`."""
        seconds, fraction = divmod(utc_seconds + _NTP_TO_UNIX_SECONDS, 1)
        report = struct.pack(
            ">BBHIIIIII", 0x80, 200, 6, self.ssrc, int(seconds) & 0xFFFFFFFF,
            int(fraction * 2**32), timestamp & 0xFFFFFFFF, self._num_packets,
            self._num_bytes & 0xFFFFFFFF,
        )  # fmt: skip
        return _framed(1, report)

    def _packet(self, payload: bytes, timestamp: int, *, is_last: bool) -> bytes:
        marked_type = PAYLOAD_TYPE | (0x80 if is_last else 0)
        sequence, timestamp = self._sequence & 0xFFFF, timestamp & 0xFFFFFFFF
        header = struct.pack(">BBHII", 0x80, marked_type, sequence, timestamp, self.ssrc)
        self._sequence += 1
        self._num_packets += 1
        self._num_bytes += len(payload)
        return _framed(0, header + payload)


def _framed(channel: int, packet: bytes) -> bytes:
    return struct.pack(">cBH", b"$", channel, len(packet)) + packet


def _payloads(nal: bytes) -> Iterator[bytes]:
    """The NAL unit as it is where it fits into a packet, else its fragments (FU-A)."""
    if len(nal) <= _MAX_PAYLOAD_BYTES:
        yield nal
        return
    indicator, kind, body = (nal[0] & 0x60) | _FU_A, nal[0] & 0x1F, nal[1:]
    step = _MAX_PAYLOAD_BYTES - 2
    for start in range(0, len(body), step):
        is_first, is_last = start == 0, start + step >= len(body)
        header = kind | (0x80 if is_first else 0) | (0x40 if is_last else 0)
        yield bytes((indicator, header)) + body[start : start + step]
