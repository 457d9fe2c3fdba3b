"""The whole way once, on this machine: a camera, the service, ten questions, alerts, their score.

`make demo` runs it. Every part is the real one: an RTSP camera in its own process, `streamvlm
serve` in another, the client of `streamvlm.client` and a webhook receiver in this one. What the
camera shows is made up, so the right answers are known, and a wrong one is shown as wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from streamvlm import show
from streamvlm.client import Client
from streamvlm.config import Config
from streamvlm.errors import StreamVLMError
from streamvlm.evaluate import demo_alert
from streamvlm.evaluate.rtsp_camera import RtspCamera, seed
from streamvlm.evaluate.through_service import (
    LiveAnswer,
    LiveExam,
    LiveQuestion,
    serving,
    watch,
)
from streamvlm.evaluate.world.drafts import Group
from streamvlm.evaluate.world.script import Pace
from streamvlm.types import AnswerStarted, Evidence

STREAM_ID = "demo"
SEED = 900_000_017
"""Of a world that no training has seen."""
SECONDS = 64.0
PACE = Pace(between=3.0, return_share=0.3, quiet_share=0.0, trouble_every=0.0)
"""Something happens all the time: nobody watches a demo of an empty picture."""
GROUPS: tuple[Group, ...] = (
    "now", "yes/no", "past", "now", "past",
    "not answerable", "past", "yes/no", "now", "past",
)  # fmt: skip

console = Console(highlight=False)
_INDENT = " " * 9


def main(arguments: list[str] | None = None) -> int:
    """Run it. 0 when everything worked, however many answers are right; 1 with one line of why not.

    With `--least N`, 1 also where fewer than N are right.
    """
    options = _parser().parse_args(arguments)
    try:
        num_right = _demo(world=options.seed)
    except (StreamVLMError, RuntimeError, TimeoutError) as error:
        Console(stderr=True).print(f"[red]demo failed:[/] {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    if num_right < options.least:
        console.print(f"[red]At least {options.least} were to be right.[/]")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A camera, the service, ten questions.")
    parser.add_argument("--seed", type=seed, default=SEED, help="of the world; from 0")
    parser.add_argument(
        "--least", type=int, default=0, metavar="N", help="fail where fewer answers are right"
    )
    return parser


def _demo(world: int) -> int:
    """Show it all; how many answers were right."""
    console.rule("streamvlm demo")
    console.print(what_the_model_is(Config().vlm.checkpoint), "\n")
    with (
        tempfile.TemporaryDirectory() as folder,
        demo_alert.receiving(Path(folder)) as (receiver, config, environment),
        serving(config, environment) as address,
        Client(address) as client,
    ):
        console.print(f"service  {address}")
        with RtspCamera(world=world, pace=PACE, seconds=SECONDS, sizes=((256, 256),)) as camera:
            console.print(f"camera   {camera.url} (H.264, RTSP over TCP), world {world}")
            truth = watch(client, STREAM_ID, camera)
            assert camera.began_utc_seconds is not None, "it shows a world"
            began = camera.began_utc_seconds
            watched = demo_alert.watch_for(client, STREAM_ID, truth, began)
            names = ", ".join(each.rule.text for each in watched) or "nothing"
            console.print(f"webhook  {receiver.url}, to be told of: {names}")
            exam = LiveExam(client=client, stream_id=STREAM_ID, truth=truth, groups=GROUPS)
            answers = _ask_all(exam)
            demo_alert.wait_for_ends(receiver, watched)
            console.print("\n", show.stream(client.get_stream(STREAM_ID)))
            client.delete_stream(STREAM_ID)
        told, num_whole = demo_alert.report(receiver, watched)
    console.print("\n[bold]What the webhook was told[/]")
    for each in told:
        console.print(" ", each)
    console.print(f"  {num_whole} of {len(watched)} alerts fired and resolved under one id.")
    judged = [answer for answer in answers if answer.is_comparable]
    num_right = sum(answer.outcome.is_right for answer in judged)
    missing = len(GROUPS) - len(judged)
    rest = f" {missing} could not be asked or judged." if missing else ""
    console.print(f"\n[bold]{num_right} of {len(judged)} right.[/]{rest} Everything is stopped.")
    return num_right


def what_the_model_is(checkpoint: str) -> str:
    """What to expect of its answers, honestly; for the console."""
    if checkpoint.startswith("random:"):
        return "The model has [bold]random weights[/]: the path is the real one, its words are not."
    if checkpoint == "mini":
        return (
            "The model is [bold]mini[/], trained for this project on synthetic worlds like this "
            "one, with other seeds.\nIt knows nothing else; what it gets wrong is shown as wrong."
        )
    return f"The model is {show.plain(checkpoint)}."


def _ask_all(exam: LiveExam) -> list[LiveAnswer]:
    answers = list[LiveAnswer]()
    while True:
        with console.status("watching"):
            question = exam.wait()
        if question is None:
            return answers
        answers.append(_ask(exam, question))


def _ask(exam: LiveExam, question: LiveQuestion) -> LiveAnswer:
    """Print a question, its answer as it comes, whether it is right, and what it was given from."""
    asked = question.truth
    console.print(f"\n{asked.asked_seconds:5.1f} s  [bold]{asked.text}[/]  [dim]{asked.group}[/]")
    console.print(_INDENT, end="")
    answer = exam.ask(
        question,
        lambda text: console.print(show.plain(text), end="", markup=False, style="cyan"),
    )
    console.print("  ", _verdict(answer))
    for said in (_evidence(answer.started), show.usage(answer.outcome.usage)):
        console.print(f"{_INDENT}{said}", style="dim", markup=False, soft_wrap=True)
    return answer


def _verdict(answer: LiveAnswer) -> Text:
    if not answer.is_comparable:
        return Text("? not judged: the picture changed while it was asked", style="yellow")
    if answer.outcome.is_right:
        return Text("✔ right", style="bold green")
    return Text(f"✘ wrong, it is: {answer.asked.truth.answer}", style="bold red")


def _evidence(started: AnswerStarted) -> str:
    """Which stretches the answer was given from, in stream seconds, and until when it knew."""
    recalled = [_stretch(piece) for piece in started.evidence if piece.block_id is not None]
    recent = [piece for piece in started.evidence if piece.block_id is None]
    span = recent[0].interval.until(recent[-1].interval.end)
    memory = f"memory of {', '.join(recalled)} s and " if recalled else ""
    return f"from {memory}{show.interval(span)}"


def _stretch(piece: Evidence) -> str:
    return f"{piece.interval.start.pts_seconds:.0f}-{piece.interval.end.pts_seconds:.0f}"


if __name__ == "__main__":
    sys.exit(main())
