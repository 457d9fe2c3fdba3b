"""Does memory stay flat? A looping RTSP camera, watched for minutes, asked now and then.

    python benchmarks/soak.py --minutes 10

The camera's scene loops; its decoder runs in its own process, as in the service. Every few seconds
the resident bytes of this process and of the decoder are taken, and the key/value bytes are held
against their budget. Exits with 1 where memory is not flat within 5 % after the warm-up.
"""

from __future__ import annotations

import argparse
import queue
import statistics
import sys
import threading
import time
from typing import Any

import psutil
from machine import describe, write
from rich.console import Console

from streamvlm.capture import open_feed
from streamvlm.config import Config
from streamvlm.engine import StreamEngine
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.types import AnswerEvent, AnswerFailed, AnswerFinished, Question, Sampling

WARM_UP_SHARE = 0.2
MOST_GROWTH = 0.05
SAMPLE_SECONDS = 5.0
ASK_SECONDS = 20.0


def ask(engine: StreamEngine, number: int) -> None:
    """One question, waited for."""
    last: queue.SimpleQueue[AnswerEvent] = queue.SimpleQueue()
    question = Question(
        question_id=f"q{number}",
        stream_id="soak",
        text="What is moving?",
        sampling=Sampling(max_new_tokens=16),
    )

    def listen(event: AnswerEvent) -> None:
        if isinstance(event, AnswerFailed | AnswerFinished):
            last.put(event)

    engine.ask(question, listen)
    event = last.get(timeout=60)
    if isinstance(event, AnswerFailed):
        raise event.error


def watch(engine: StreamEngine, minutes: float, console: Console) -> list[dict[str, Any]]:
    """Samples of memory while the engine runs."""
    process, samples = psutil.Process(), []
    start = time.monotonic()
    next_question = start + ASK_SECONDS
    while (elapsed := time.monotonic() - start) < 60 * minutes:
        time.sleep(SAMPLE_SECONDS)
        if time.monotonic() >= next_question:
            ask(engine, len(samples))
            next_question += ASK_SECONDS
        status = engine.get_stream("soak")
        decoders = [c for c in process.children() if "decoder" in " ".join(c.cmdline())]
        samples.append(
            {
                "seconds": elapsed,
                "engine_rss_bytes": process.memory_info().rss,
                "decoder_rss_bytes": sum(child.memory_info().rss for child in decoders),
                "file_descriptors": process.num_fds(),
                "kv_bytes": status.memory.kv_bytes,
                "blocks": status.memory.blocks,
                "evicted_blocks": status.memory.evicted_blocks,
                "clips_encoded": status.memory.clips_encoded,
                "clips_dropped": status.feed.clips_dropped,
            }
        )
        console.print(samples[-1])
    return samples


def growth(samples: list[dict[str, Any]], key: str) -> float:
    """Last fifth over first fifth after the warm-up, minus one."""
    warm = [sample[key] for sample in samples[int(len(samples) * WARM_UP_SHARE) :]]
    fifth = max(1, len(warm) // 5)
    return statistics.median(warm[-fifth:]) / statistics.median(warm[:fifth]) - 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--budget-bytes", type=int, default=4 * 2**20)
    arguments = parser.parse_args()
    config = Config.model_validate(
        {
            "encode": {"max_pixels": 256 * 256},
            "remember": {"budget_bytes": arguments.budget_bytes},
        }
    )
    engine, console = StreamEngine.from_config(config), Console()
    with RtspCamera(seconds=10.0) as camera:
        feed = open_feed(
            "soak",
            camera.url,
            fps=config.capture.fps,
            rule=engine.vlm.patch_spec.rule,
            queue_clips=config.capture.queue_clips,
            open_timeout_seconds=config.capture.open_timeout_seconds,
            read_timeout_seconds=config.capture.read_timeout_seconds,
        )
        feed.start(engine.wake)
        engine.add_stream("soak", "test camera", feed)
        runner = threading.Thread(target=engine.run, daemon=True)
        runner.start()
        try:
            samples = watch(engine, arguments.minutes, console)
        finally:
            engine.stop()
            runner.join()
    result = {
        "machine": describe(engine.vlm.device),
        "budget_bytes": arguments.budget_bytes,
        "most_kv_bytes": max(sample["kv_bytes"] for sample in samples),
        "engine_growth": growth(samples, "engine_rss_bytes"),
        "decoder_growth": growth(samples, "decoder_rss_bytes"),
        "samples": samples,
    }
    print("wrote", write("soak", result))
    console.print({key: value for key, value in result.items() if key != "samples"})
    first, last = samples[len(samples) // 5], samples[-1]
    holds = {
        "memory is flat": max(result["engine_growth"], result["decoder_growth"]) <= MOST_GROWTH,
        "budget holds": result["most_kv_bytes"] <= arguments.budget_bytes,
        "budget was reached": last["evicted_blocks"] > 0,
        "no descriptor leaks": last["file_descriptors"] <= first["file_descriptors"],
        "no clip was dropped": last["clips_dropped"] == 0,
    }
    console.print(holds)
    return 0 if all(holds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
