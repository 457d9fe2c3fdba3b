"""Is the service as good as its pipeline? The same questions through both.

    python benchmarks/service_accuracy.py --worlds 6 --questions 24

Each world is shown by an RTSP camera to the service, which is asked over gRPC while it watches.
Then the same script, from the same second on, is watched by the pipeline without cameras, queues
and wire, and asked the same questions at the same moments. What differs is what H.264, the network
and the real time do. Exits with 1 where no answer could be compared.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import describe, write
from rich.console import Console

from streamvlm import config
from streamvlm.client import Client
from streamvlm.config import Config
from streamvlm.evaluate import methods, report, runner
from streamvlm.evaluate.items import Case
from streamvlm.evaluate.live_truth import LiveTruth
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.evaluate.suites.mini import TEST_SEEDS, SyntheticVideo
from streamvlm.evaluate.through_service import METHOD, LiveAnswer, LiveExam, serving, watch
from streamvlm.evaluate.world.render import PICTURE
from streamvlm.vlm import load

OFFLINE = "service"
"""The runner's method with the settings of the service."""
MAX_NEW_TOKENS = 24

console = Console(highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A world that the service has watched and been asked about."""

    truth: LiveTruth
    answers: list[LiveAnswer]
    clips_dropped: int

    @property
    def comparable(self) -> list[Outcome]:
        """Of the answers that count."""
        return [answer.outcome for answer in self.answers if answer.is_comparable]

    def case(self) -> Case:
        """The same for the runner."""
        video = SyntheticVideo(script=self.truth.seen_script())
        return Case(video=video, items=tuple(outcome.item for outcome in self.comparable))


def examine(client: Client, seed: int, seconds: float, questions: int, fps: float) -> Watched:
    """Let the service watch one world, and ask."""
    stream_id = f"world-{seed}"
    with RtspCamera(world=seed, seconds=seconds, sizes=((PICTURE, PICTURE),)) as camera:
        truth = watch(client, stream_id, camera, fps=fps)
        exam = LiveExam(
            client=client,
            stream_id=stream_id,
            truth=truth,
            groups=(None,) * questions,
            max_new_tokens=MAX_NEW_TOKENS,
        )
        answers = []
        while (question := exam.wait()) is not None:
            answers.append(exam.ask(question))
        clips_dropped = client.get_stream(stream_id).feed.clips_dropped
        client.delete_stream(stream_id)
    watched = Watched(truth=truth, answers=answers, clips_dropped=clips_dropped)
    right = sum(outcome.is_right for outcome in watched.comparable)
    console.print(f"world {seed}: {right} of {len(watched.comparable)} right, {len(answers)} asked")
    return watched


def compare(live: list[Outcome], offline: list[Outcome]) -> dict[str, Any]:
    """How often both said the same, and how often only one of them was right."""
    others = {outcome.item.item_id: outcome for outcome in offline}
    pairs = [(outcome, others[outcome.item.item_id]) for outcome in live]
    return {
        "questions": len(pairs),
        "same_answer": sum(one.answer == other.answer for one, other in pairs),
        "both_right": sum(one.is_right and other.is_right for one, other in pairs),
        "only_live_right": sum(one.is_right and not other.is_right for one, other in pairs),
        "only_offline_right": sum(other.is_right and not one.is_right for one, other in pairs),
    }


def ask_offline(settings: Config, cases: list[Case]) -> tuple[list[Outcome], torch.device]:
    vlm = load(
        settings.vlm.checkpoint,
        dtype=settings.vlm.dtype,
        device=settings.vlm.device,
        max_pixels=settings.encode.max_pixels,
    )
    chosen = [methods.method(OFFLINE)]
    outcomes = runner.run(vlm, cases, chosen, config=settings, max_new_tokens=MAX_NEW_TOKENS)
    return list(outcomes), vlm.device


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=64.0, help="length of each world")
    parser.add_argument("--questions", type=int, default=24, help="to each world")
    parser.add_argument("--config", type=Path, help="of the service; else its defaults")
    arguments = parser.parse_args()
    settings = config.load(arguments.config) if arguments.config else Config()
    with serving(arguments.config) as address, Client(address) as client:
        watched = [
            examine(client, seed, arguments.seconds, arguments.questions, settings.capture.fps)
            for seed in TEST_SEEDS[: arguments.worlds]
        ]
    live = [outcome for each in watched for outcome in each.comparable]
    if not live:
        console.print("no answer could be compared")
        return 1
    offline, device = ask_offline(settings, [each.case() for each in watched])
    both = [*live, *offline]
    reports = report.add_up(both)
    answers = [answer for each in watched for answer in each.answers]
    result = {
        "machine": describe(device),
        "checkpoint": settings.vlm.checkpoint,
        "worlds": arguments.worlds,
        "seconds": arguments.seconds,
        "asked": len(answers),
        "left_out": len(answers) - len(live),
        "clips_late": sum(answer.newest_look > answer.asked.look for answer in answers),
        "clips_dropped": sum(each.clips_dropped for each in watched),
        "compared": {"live": METHOD, "offline": OFFLINE, **compare(live, offline)},
        **report.as_json(reports, both),
    }
    for table in report.tables(reports):
        console.print(table, "")
    hidden = ("machine", "methods", "outcomes")
    console.print({key: value for key, value in result.items() if key not in hidden})
    console.print("wrote", write("service_accuracy", result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
