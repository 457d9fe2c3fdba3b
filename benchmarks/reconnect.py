"""A camera that dies again and again: does the stream come back by itself, and at what cost?

    python benchmarks/reconnect.py --cycles 50

First one outage of ten seconds, then many short ones. Each must end with the stream live again, the
gap in its status, and neither file descriptors nor resident memory growing. Exits with 1 where not.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

import psutil
from machine import describe, write

from streamvlm.capture import Feed, open_feed
from streamvlm.capture.backoff import Backoff
from streamvlm.config import Config
from streamvlm.engine import StreamEngine
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.types import SourceState

PATIENCE_SECONDS = 30.0
WARM_UP_CYCLES = 5
MOST_GROWTH = 0.05


def wait_for(feed: Feed, state: SourceState, frames: int = 0) -> float:
    """Seconds until the feed is in this state and has sampled this many frames more."""
    start, sampled = time.monotonic(), feed.status().frames_sampled
    while (waited := time.monotonic() - start) < PATIENCE_SECONDS:
        status = feed.status()
        if status.state is state and status.frames_sampled >= sampled + frames:
            return waited
        time.sleep(0.02)
    raise TimeoutError(f"not {state} within {PATIENCE_SECONDS} s: {feed.status()}")


def measure(feed: Feed) -> dict[str, Any]:
    """Descriptors and resident bytes of the engine's process and of the decoder."""
    engine, decoder = psutil.Process(), psutil.Process(feed.decoder_process_id)
    return {
        "engine_descriptors": engine.num_fds(),
        "decoder_descriptors": decoder.num_fds(),
        "engine_rss_bytes": engine.memory_info().rss,
        "decoder_rss_bytes": decoder.memory_info().rss,
    }


def outage(camera: RtspCamera, feed: Feed, seconds: float) -> float:
    """Kill the camera, start it again after a while; seconds until pictures came again."""
    camera.kill()
    wait_for(feed, SourceState.RECONNECTING)
    time.sleep(seconds)
    camera.start()
    return wait_for(feed, SourceState.LIVE, frames=4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=50)
    arguments = parser.parse_args()
    config = Config.model_validate({"encode": {"max_pixels": 256 * 256}})
    engine = StreamEngine.from_config(config)
    threading.Thread(target=engine.run, daemon=True).start()
    with RtspCamera(seconds=2.0) as camera:
        feed = open_feed(
            "flaky",
            camera.url,
            fps=config.capture.fps,
            rule=engine.vlm.patch_spec.rule,
            queue_clips=config.capture.queue_clips,
            open_timeout_seconds=config.capture.open_timeout_seconds,
            read_timeout_seconds=config.capture.read_timeout_seconds,
            backoff=Backoff(first_seconds=0.1, longest_seconds=0.5),
        )
        feed.start(engine.wake)
        engine.add_stream("flaky", "test camera", feed)
        wait_for(feed, SourceState.LIVE, frames=4)
        long_recovery = outage(camera, feed, seconds=10.0)
        time.sleep(3.0)
        long_gap = engine.get_stream("flaky").memory.gaps[-1]
        cycles = []
        for number in range(arguments.cycles):
            recovery = outage(camera, feed, seconds=0.0)
            cycles.append({"recovery_seconds": recovery, **measure(feed)})
            print(number, cycles[-1], flush=True)
        status = engine.get_stream("flaky")
        engine.stop()
    first, last = cycles[WARM_UP_CYCLES], cycles[-1]
    result = {
        "machine": describe(engine.vlm.device),
        "ten_second_outage": {
            "recovery_seconds": long_recovery,
            "gap_seconds": long_gap.interval.duration_seconds,
            "reason": long_gap.reason,
        },
        "reconnects": status.feed.reconnects,
        "gaps_total": status.feed.gaps_total,
        "growth": {key: last[key] / first[key] - 1 for key in first},
        "cycles": cycles,
    }
    print("wrote", write("reconnect", result))
    print({key: value for key, value in result.items() if key != "cycles"})
    growth = [value for key, value in result["growth"].items() if key != "recovery_seconds"]
    is_whole = result["gaps_total"] == arguments.cycles + 1
    return 0 if is_whole and max(growth) <= MOST_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
