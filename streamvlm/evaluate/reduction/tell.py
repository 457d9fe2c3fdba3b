"""The figures of a reduction, for people and for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from streamvlm import show
from streamvlm.evaluate.reduction.seen import Reduction

_MEBI = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What was reduced, and by what."""

    video: str
    model: str
    strategy: dict[str, Any]
    """`name` and the settings that were given."""
    fps: float
    """Frames that were sampled a second."""


def plain(about: About, reduction: Reduction) -> dict[str, Any]:
    """Plain values, for JSON."""
    seen, kept = reduction.tokens_seen, reduction.tokens_kept
    clips, bytes_each = reduction.clips, reduction.kv_bytes_per_token
    return {
        "video": about.video,
        "model": about.model,
        "strategy": about.strategy,
        "fps": about.fps,
        "seconds": clips[-1].end_seconds,
        "clips_seen": len(clips),
        "clips_unchanged": len(clips) - reduction.num_encoded,
        "tokens_seen": seen,
        "tokens_kept": kept,
        "keep_ratio": kept / seen if seen else 1.0,
        "kv_bytes_per_token": bytes_each,
        "kv_bytes_kept": kept * bytes_each,
        "kv_bytes_saved": (seen - kept) * bytes_each,
        "steps": reduction.steps,
        "segments": [
            {
                "start_seconds": span.start_seconds,
                "end_seconds": span.end_seconds,
                "clips": span.num_clips,
                "tokens_kept": span.num_kept,
            }
            for span in reduction.segments
        ],
        "cuts_seconds": [clip.start_seconds for clip in clips if clip.is_cut],
        "key_clips_seconds": [clips[index].start_seconds for index in reduction.key_clips],
        "ms_per_clip": _milliseconds(reduction),
        "clips": [
            {
                "start_seconds": clip.start_seconds,
                "tokens_seen": clip.num_cells,
                "tokens_kept": clip.num_kept,
                "drop_ratio": clip.drop_ratio,
            }
            for clip in clips
        ],
    }


def table(about: About, reduction: Reduction) -> Table:
    """The same for people, without every clip."""
    told = plain(about, reduction)
    height, width = reduction.clips[0].num_pixels
    settings = [f"{key}={value}" for key, value in about.strategy.items() if key != "name"]
    segments, each = len(told["segments"]), told["kv_bytes_per_token"]
    spent = told["ms_per_clip"]
    rows = {
        "video": f"{about.video}: {told['seconds']:.1f} s at {about.fps:g} frames/s, "
        f"{width} x {height} pixels",
        "model": about.model,
        "strategy": " ".join([about.strategy["name"], *settings]),
        "clips": f"{told['clips_seen']} seen, {told['clips_unchanged']} of them not encoded, as "
        "nothing had changed",
        "tokens": f"{told['tokens_seen']} seen, {told['tokens_kept']} kept: "
        f"{told['keep_ratio']:.1%}",
        **({"steps": _steps(reduction.steps)} if reduction.steps else {}),
        "KV": f"{told['kv_bytes_kept'] / _MEBI:.2f} MiB kept, "
        f"{told['kv_bytes_saved'] / _MEBI:.2f} MiB saved, at {each} bytes a token",
        "segments": f"{segments}, of {reduction.num_encoded / max(1, segments):.1f} clips in "
        "the mean",
        "scene cuts": _moments(told["cuts_seconds"]),
        "key clips": _moments(told["key_clips_seconds"]),
        "time": f"ms a clip: decode {spent['decode']:.1f}, encode {spent['encode']:.1f}, "
        f"reduce {spent['reduce']:.1f}",
    }
    shown = Table(box=None, show_header=False, pad_edge=False)
    shown.add_column(style="bold")
    shown.add_column()
    for name, value in rows.items():
        shown.add_row(name, show.line(value))
    return shown


def _milliseconds(reduction: Reduction) -> dict[str, float]:
    """Decoding of each clip; encoding, its gate included, and reducing of each that was encoded."""
    spent, encoded = reduction.spent, max(1, reduction.num_encoded)
    return {
        "decode": 1000 * spent.decode / len(reduction.clips),
        "encode": 1000 * spent.encode / encoded,
        "reduce": 1000 * spent.reduce / encoded,
    }


def _steps(left: dict[str, int]) -> str:
    names = {"seen": "seen", "dropped_to": "dropping", "merged_to": "merging"}
    names |= {"background_to": "background", "kept": "key clips"}
    return ", ".join(f"{names[step]} {count}" for step, count in left.items())


def _moments(seconds: list[float]) -> str:
    return f"at {', '.join(f'{each:.1f}' for each in seconds)} s" if seconds else "none"
