"""Where does the service begin to refuse, and what does it say then?

    python benchmarks/service.py

`streamvlm serve` with mini in a process of its own. First one stream and more and more callers who
ask all the time; then more and more live streams while one caller asks. Prints times to the first
token and to the end of answers, and what was refused and how. Writes
benchmarks/results/service.json.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from statistics import quantiles
from typing import Any

import grpc
import torch
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from machine import describe, write
from rich.console import Console
from rich.table import Table

from streamvlm.client import Client
from streamvlm.errors import StreamVLMError
from streamvlm.evaluate.through_service import serving
from streamvlm.wire.v1 import query_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceStub

console = Console(highlight=False)
SOURCE = "synthetic:moving?realtime=1&seconds=3600"
QUESTION = "What color is the circle?"
DEADLINE_SECONDS = 30.0


class Callers:
    """Some who ask all the time, each on a connection of its own."""

    def __init__(self, address: str, number: int) -> None:
        self._address, self._is_over = address, threading.Event()
        self._lock = threading.Lock()
        self.first_seconds: list[float] = []
        self.whole_seconds: list[float] = []
        self.refused: Counter[str] = Counter()
        self.num_without_retry = 0
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]

    def run(self, seconds: float) -> None:
        """Let them ask for so long."""
        for thread in self._threads:
            thread.start()
        time.sleep(seconds)
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            stub = QueryServiceStub(channel)
            while not self._is_over.is_set():
                self._ask_once(stub)

    def _ask_once(self, stub: Any) -> None:
        began, first = time.monotonic(), None
        request = pb.AskRequest(
            stream_id="cam-0", question=QUESTION, sampling=pb.Sampling(max_new_tokens=8)
        )
        try:
            for response in stub.Ask(request, timeout=DEADLINE_SECONDS):
                if first is None and response.HasField("token"):
                    first = time.monotonic() - began
        except grpc.RpcError as error:
            status, retry = rpc_status.from_call(error), RetryInfo()
            says_when = status is not None and any(each.Unpack(retry) for each in status.details)
            with self._lock:
                self.refused[error.code().name] += 1
                self.num_without_retry += not says_when
            self._is_over.wait(0.1)  # less than it is told, but not at once
            return
        with self._lock:
            self.whole_seconds.append(time.monotonic() - began)
            if first is not None:
                self.first_seconds.append(first)


def spread(values: list[float]) -> dict[str, float | None]:
    if len(values) < 2:
        return {"p50": None, "p95": None, "p99": None}
    cuts = quantiles(values, n=100, method="inclusive")
    return {name: round(cuts[index], 3) for name, index in (("p50", 49), ("p95", 94), ("p99", 98))}


def measured(address: str, number: int, seconds: float) -> dict[str, Any]:
    callers = Callers(address, number)
    callers.run(seconds)
    return {
        "answers_a_second": round(len(callers.whole_seconds) / seconds, 2),
        "first_token_seconds": spread(callers.first_seconds),
        "whole_answer_seconds": spread(callers.whole_seconds),
        "refused": dict(callers.refused),
        "refused_without_retry_info": callers.num_without_retry,
    }


def frame_age(client: Client) -> float:
    """Of the stream that is furthest behind: from what is remembered until now."""
    ends = [status.memory.remembered for status in client.list_streams()]
    return round(max(time.time() - each.end.utc_seconds for each in ends if each), 2)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=12.0, help="at each step")
    parser.add_argument(
        "--callers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 96, 160, 300]
    )
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8, 16, 20])
    options = parser.parse_args()
    asking, watching = [], []
    with serving() as address, Client(address) as client:
        client.create_stream("cam-0", SOURCE)
        time.sleep(20.0)
        for number in options.callers:
            asking.append({"callers": number, **measured(address, number, options.seconds)})
            console.print(asking[-1])
        for number in options.streams:
            refused: Counter[str] = Counter()
            for index in range(1, number):
                if index >= len(client.list_streams()):
                    try:
                        client.create_stream(f"cam-{index}", SOURCE)
                    except StreamVLMError as error:
                        refused[error.reason] += 1
            found = measured(address, 1, options.seconds)
            watching.append(
                {
                    "streams_wanted": number,
                    "streams": len(client.list_streams()),
                    "streams_refused": dict(refused),
                    "clips_dropped": sum(s.feed.clips_dropped for s in client.list_streams()),
                    "oldest_newest_clip_seconds": frame_age(client),
                    **found,
                }
            )
            console.print(watching[-1])
    table = Table("callers", "answers/s", "first token p50 / p95 / p99", "refused")
    for row in asking:
        times = " / ".join(str(value) for value in row["first_token_seconds"].values())
        table.add_row(str(row["callers"]), str(row["answers_a_second"]), times, str(row["refused"]))
    console.print(table)
    result = {"machine": describe(torch.device("cpu")), "callers": asking, "streams": watching}
    write("service", result)


if __name__ == "__main__":
    main()
