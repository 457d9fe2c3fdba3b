"""Tiny made-up copies of the benchmarks, in the format in which they are published."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.capture.videos import write_video

SECONDS = 2.0
"""Length of every video."""


@cache
def _video() -> bytes:
    with TemporaryDirectory() as folder:
        return write_video(Path(folder) / "video.mp4", seconds=SECONDS).read_bytes()


def put_video(path: Path) -> Path:
    """A video of two seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_video())
    return path


def put_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def put_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


STREAMINGBENCH_FILES = {
    "Real-Time Visual Understanding": "Real_Time_Visual_Understanding.csv",
    "Emotion Recognition": "Omni_Source_Understanding.csv",
    "Anomaly Context Understanding": "Contextual_Understanding.csv",
    "Sequential Question Answering": "Sequential_Question_Answering.csv",
}


def streamingbench_row(archive: str, number: int, **changes: str) -> dict[str, str]:
    return {
        "question_id": f"{archive}_sample_7_{number}",
        "task_type": "Object Perception",
        "question": f"What is there at {number}?",
        "time_stamp": f"00:00:0{3 - number}",
        "answer": "B",
        "options": "['A. A cup.', 'B. A hat.', 'C. A dog.', 'D. A car.']",
        "frames_required": "single",
        "temporal_clue_type": "Prior",
    } | changes


def streamingbench(folder: Path, changed: str = "", **changes: str) -> Path:
    """Four archives of one video and two questions, and three proactive ones. `changes` are made to
    the first question of the archive `changed`.
    """
    for archive, file in STREAMINGBENCH_FILES.items():
        rows = [
            streamingbench_row(archive, 1, **(changes if archive == changed else {})),
            streamingbench_row(archive, 2),
        ]
        put_csv(folder / "StreamingBench" / file, rows)
        put_video(folder / archive / "sample_7" / "video.mp4")
    proactive = [
        {
            "question_id": f"Proactive Output_sample_1_{number}",
            "task_type": "Proactive Output",
            "question": 'When it rains, output "rain".',
            "time_stamp": "00:00:01",
            "ground_truth_time_stamp": "00:00:02",
            "ground_truth_output": "rain",
        }
        for number in range(3)
    ]
    put_csv(folder / "StreamingBench" / "Proactive_Output.csv", proactive)
    return folder


def ovo_entries() -> list[dict[str, Any]]:
    return [
        {
            "id": 0,
            "task": "EPM",
            "video": "Ego4D/one.mp4",
            "realtime": 2,
            "question": "Where was the cup?",
            "answer": "on the table",
            "options": ["in the sink", "on the table", "on the floor"],
            "gt": 1,
        },
        {
            "id": 1,
            "task": "OCR",
            "video": "Ego4D/one.mp4",
            "realtime": 0.5,
            "question": "What does the sign say?",
            "answer": "open",
            "options": ["open", "closed"],
            "gt": 0,
        },
        {
            "id": 2,
            "task": "REC",
            "video": "thumos/two.mp4",
            "activity": "long jump",
            "start_times": [0],
            "end_times": [1],
            "test_info": [{"realtime": 1.5, "count": 1}, {"realtime": 0.5, "count": 0}],
        },
        {
            "id": 3,
            "task": "SSR",
            "video": "COIN/three.mp4",
            "tutorial": "CutMango",
            "all_steps": ["peel"],
            "start_time": [1],
            "end_time": [2],
            "test_info": [
                {"realtime": 0, "step": "peel", "type": 0},
                {"realtime": 2, "step": "peel", "type": 1},
            ],
        },
        {
            "id": 4,
            "task": "CRR",
            "video": "MovieNet/four.mp4",
            "question": "What does she take?",
            "answer": "A hat.",
            "ask_time": 0,
            "clue_time": 1,
            "test_info": [{"realtime": 1, "type": 1}],
        },
    ]


def ovo_bench(folder: Path, entries: list[dict[str, Any]] | None = None) -> Path:
    """Three groups of tasks on four videos."""
    put_json(folder / "ovo_bench_new.json", ovo_entries() if entries is None else entries)
    for video in ("Ego4D/one.mp4", "thumos/two.mp4", "COIN/three.mp4", "MovieNet/four.mp4"):
        put_video(folder / "src_videos" / video)
    return folder


def video_mme_entries() -> list[dict[str, Any]]:
    return [
        {
            "video_id": f"00{number}",
            "duration_category": length,
            "video_category": "Knowledge",
            "video_subcategory": "Geography",
            "url": f"https://www.youtube.com/watch?v=id-{number}",
            "questions": [
                {
                    "question_id": f"00{number}-{question}",
                    "task_type": task,
                    "question": "What is worn?",
                    "choices": ["A. Black shirts.", "B. Blue.", "C. Red.", "D. Brown hat."],
                    "answer": "D",
                }
                for question, task in ((1, "Object Reasoning"), (2, "OCR Problems"))
            ],
        }
        for number, length in ((1, "short"), (2, "long"))
    ]


def video_mme_rows() -> list[dict[str, Any]]:
    """What the parquet file has."""
    return [
        {
            "video_id": entry["video_id"],
            "duration": entry["duration_category"],
            "domain": entry["video_category"],
            "sub_category": entry["video_subcategory"],
            "url": entry["url"],
            "videoID": entry["url"].partition("=")[2],
            "question_id": question["question_id"],
            "task_type": question["task_type"],
            "question": question["question"],
            "options": question["choices"],
            "answer": question["answer"],
        }
        for entry in video_mme_entries()
        for question in entry["questions"]
    ]


def video_mme(folder: Path, entries: list[dict[str, Any]] | None = None) -> Path:
    """Two videos with two questions each, as the README of the code has them."""
    put_json(folder / "video_mme.json", video_mme_entries() if entries is None else entries)
    for number in (1, 2):
        put_video(folder / "data" / f"id-{number}.mp4")
    return folder


MLVU_TASKS = (
    "1_plotQA",
    "2_needle",
    "3_ego",
    "4_count",
    "5_order",
    "6_anomaly_reco",
    "7_topic_reasoning",
)


def mlvu_entry(task: str, **changes: Any) -> dict[str, Any]:
    return {
        "video": f"{task}_32.mp4",
        "duration": SECONDS,
        "question": "What does the hand do?",
        "candidates": ["waves", "A. points", "nothing", "claps"],
        "answer": "A. points",
        "question_type": task.partition("_")[2],
    } | changes


def mlvu(folder: Path, changed: str = "", **changes: Any) -> Path:
    """Seven tasks of one video and one question, and three generation items."""
    for task in MLVU_TASKS:
        entry = mlvu_entry(task, **(changes if task == changed else {}))
        put_json(folder / "json" / f"{task}.json", [entry])
        put_video(folder / "video" / task / f"{task}_32.mp4")
    free = {"video": "s.mp4", "duration": 2, "question": "Tell.", "answer": "So it goes."}
    put_json(folder / "json" / "8_sub_scene.json", [free, free])
    put_json(folder / "json" / "9_summary.json", [free])
    return folder
