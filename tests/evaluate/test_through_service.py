"""Questions about a live world through the real service: a camera, a server, a client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamvlm.client import Client
from streamvlm.errors import SourceError
from streamvlm.evaluate.items import is_right
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.evaluate.through_service import METHOD, LiveAnswer, LiveExam, serving, watch
from streamvlm.evaluate.world.script import Pace

SIDE = 128
BUSY = Pace(between=1.0, quiet_share=0.0, trouble_every=0.0)
CONFIG = """
vlm: {checkpoint: "random:qwen3-vl-tiny", device: cpu}
encode: {max_pixels: 16384}
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    config = tmp_path_factory.mktemp("service") / "config.yaml"
    config.write_text(CONFIG)
    with serving(config) as address, Client(address) as client:
        yield client


def camera(seconds: float) -> RtspCamera:
    return RtspCamera(world=4, pace=BUSY, seconds=seconds, sizes=((SIDE, SIDE),))


def test_answers_are_given_from_the_looks_that_they_are_asked_about(client: Client) -> None:
    with camera(9.0) as shown:
        truth = watch(client, "exam", shown)
        exam = LiveExam(
            client=client,
            stream_id="exam",
            truth=truth,
            groups=("yes/no", None, None),
            first_look=2,
            max_new_tokens=4,
        )
        answers, heard = list[LiveAnswer](), list[str]()
        while (question := exam.wait()) is not None:
            heard.clear()
            answers.append(exam.ask(question, heard.append))
            assert "".join(heard) == answers[-1].outcome.answer
        began = shown.began_utc_seconds
        client.delete_stream("exam")
    assert answers[0].asked.truth.group == "yes/no"
    assert len({answer.asked.truth.family for answer in answers}) == len(answers)
    assert began is not None
    for answer in answers:
        # Asked as soon as the clip was there; a busy machine may be a clip late, and it is known.
        assert answer.newest_look - answer.asked.look in (0, 1)
        end = answer.started.evidence[-1].interval.end
        assert truth.script_seconds(end.pts_seconds) == pytest.approx(
            end.utc_seconds - began, abs=1e-3
        )
        assert answer.is_comparable == truth.is_unchanged(answer.asked.look, answer.newest_look)
        assert answer.outcome.item.question == answer.asked.truth.text
        assert answer.outcome.item.asked_seconds == answer.newest_look + 0.5
        assert answer.outcome.is_right == is_right(answer.outcome.item, answer.outcome.answer)
        assert answer.outcome.method == METHOD
    comparable = [answer for answer in answers if answer.is_comparable]
    assert comparable
    for answer in comparable:
        item, asked = answer.outcome.item, answer.asked.truth
        assert (item.family, item.answer) == (asked.family, asked.answer)
        assert item.event_seconds is None or item.event_seconds == asked.event_seconds


def test_a_camera_that_dies_ends_the_exam(client: Client) -> None:
    with camera(60.0) as shown:
        truth = watch(client, "dying", shown)
        exam = LiveExam(client=client, stream_id="dying", truth=truth, groups=(None,))
        shown.kill()
        with pytest.raises(SourceError, match="'dying' is reconnecting"):
            exam.wait()
    client.delete_stream("dying")


def test_a_service_that_cannot_start_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "config.yaml"
    wrong.write_text("capture: {fsp: 2}")
    with pytest.raises(RuntimeError, match="did not start"), serving(wrong):
        raise AssertionError("it started")
    assert "fsp" in capsys.readouterr().err
