"""Packets carry each access unit whole, in order, with counters that fit their fields."""

from __future__ import annotations

import struct

from streamvlm.capture.h264 import NAL_IDR, NAL_PPS, NAL_SPS, encode, nal_type
from streamvlm.capture.scenes import moving
from streamvlm.evaluate.rtp import RtpSender


def packets(framed: bytes) -> list[bytes]:
    found = []
    while framed:
        length = int.from_bytes(framed[2:4], "big")
        found.append(framed[4 : 4 + length])
        framed = framed[4 + length :]
    return found


def joined(payloads: list[bytes]) -> list[bytes]:
    """NAL units from single-NAL packets and FU-A fragments."""
    nals: list[bytes] = []
    for payload in payloads:
        if payload[0] & 0x1F != 28:
            nals.append(payload)
        elif payload[1] & 0x80:
            nals.append(bytes((payload[0] & 0x60 | payload[1] & 0x1F,)) + payload[2:])
        else:
            nals[-1] += payload[2:]
    return nals


def test_every_second_starts_with_a_keyframe_that_brings_its_parameter_sets() -> None:
    units = encode((moving(i / 10, height=64, width=96) for i in range(20)), fps=10)
    assert len(units) == 20
    kinds = [{nal_type(nal) for nal in unit} for unit in units]
    assert [index for index, kind in enumerate(kinds) if NAL_IDR in kind] == [0, 10]
    assert {NAL_SPS, NAL_PPS, NAL_IDR} <= kinds[0] and kinds[0] == kinds[10]


def test_fragments_join_to_the_same_units_and_the_last_is_marked() -> None:
    sender = RtpSender()
    unit = (b"\x67" + b"s" * 20, b"\x65" + bytes(range(256)) * 20)
    sent = packets(sender.picture(unit, timestamp=2**32 + 9))
    assert max(len(packet) for packet in sent) < 1500
    assert joined([packet[12:] for packet in sent]) == list(unit)
    assert [packet[1] >> 7 for packet in sent] == [0] * (len(sent) - 1) + [1]
    headers = [struct.unpack(">HI", packet[2:8]) for packet in sent]
    assert headers == [(index, 9) for index in range(len(sent))]


def test_a_sender_report_ties_the_timestamp_to_utc() -> None:
    (report,) = packets(RtpSender().report(2**32 + 5, utc_seconds=1_750_000_000.5))
    seconds, fraction, timestamp = struct.unpack(">III", report[8:20])
    assert seconds - 2_208_988_800 + fraction / 2**32 == 1_750_000_000.5
    assert timestamp == 5
