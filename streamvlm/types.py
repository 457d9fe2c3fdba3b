"""What flows through streamvlm: read this file and you know the system.

    capture ---> encode ------> reduce ----> remember          written by the stream only
    Frame,Clip   VisualTokens   KeptTokens   KVBlock
                      |                        |  recall (reads only)
                      v  fresh window (full)   v
    Question --------------------------------> respond ---> AnswerEvents

Letters, the same everywhere: T frames of a clip, H W pixels, N visual tokens, K kept tokens, D
hidden size, Z deepstack levels, L language-model layers, G key/value heads, S cached tokens, E head
size, Q representative tokens of a block, R = G * E length of a probe, V vocabulary.

Everything is frozen and checks itself once, where it is made. Neither torch nor numpy is imported
at run time, so that a decoder process (`capture/`) and the command line start small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from streamvlm.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def _check(name: str, array: Any, dtype: str, shape: Sequence[int | None]) -> None:
    """Raise ValueError unless `array` (torch or numpy) has this dtype ("float" = any) and shape
    (None = any length).
    """
    actual = str(array.dtype).removeprefix("torch.")
    if actual != dtype and not (dtype == "float" and "float" in actual):
        raise ValueError(f"{name} must be {dtype}, got {actual}")
    fits = len(array.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must have shape {list(shape)}, got {list(array.shape)}")


class ClockSource(StrEnum):
    """Where a UTC time comes from, best first."""

    RTCP_SR = "rtcp_sr"
    """The camera's own clock, from its RTCP sender reports."""
    RTCP_SR_SKEWED = "rtcp_sr_skewed"
    """The same, but more than 2 s away from the clock of this machine: one of the two is wrong."""
    CLIENT = "client"
    """Stated by whoever pushed the frame."""
    FILE = "file"
    """When a file began (creation time in it, or else the day of its last change), plus the
    presentation time."""
    ARRIVAL = "arrival"
    """The clock of this machine when the frame arrived."""
    UNKNOWN = "unknown"
    """Only in a client: a word of a service that is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTime:
    """One instant, in the stream's own time and in UTC."""

    pts_seconds: float
    """Seconds since the stream began; never runs backwards, also across reconnects."""
    utc_seconds: float
    """Seconds since 1970-01-01 UTC."""
    clock: ClockSource
    """Where `utc_seconds` comes from."""
    clock_error_seconds: float = 0.0
    """How far `utc_seconds` may be off, as far as we can tell; >= 0."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.pts_seconds) and math.isfinite(self.utc_seconds)):
            raise ValueError(f"times must be finite, got {self.pts_seconds} and {self.utc_seconds}")

    def later(self, seconds: float) -> StreamTime:
        """The instant this many seconds later, by the same clock."""
        return replace(
            self, pts_seconds=self.pts_seconds + seconds, utc_seconds=self.utc_seconds + seconds
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A half-open stretch of a stream, [start, end)."""

    start: StreamTime
    end: StreamTime

    def __post_init__(self) -> None:
        if self.end.pts_seconds < self.start.pts_seconds:
            raise ValueError(
                f"an interval cannot end ({self.end.pts_seconds} s) before it starts "
                f"({self.start.pts_seconds} s)"
            )

    @property
    def duration_seconds(self) -> float:
        """Length in stream seconds, >= 0."""
        return self.end.pts_seconds - self.start.pts_seconds

    def until(self, end: StreamTime) -> Interval:
        """The same start with a later end."""
        return replace(self, end=end)


@dataclass(frozen=True, slots=True, kw_only=True)
class UtcInterval:
    """A half-open stretch of time, [start, end), in seconds since 1970-01-01 UTC. Infinite where a
    side is open. Raises InvalidInputError where it ends before it starts, or as it does.
    """

    start_seconds: float = -math.inf
    end_seconds: float = math.inf

    def __post_init__(self) -> None:
        if not self.start_seconds < self.end_seconds:
            raise InvalidInputError(
                f"a stretch of time must end after it starts, got {self.start_seconds} to "
                f"{self.end_seconds} seconds since 1970"
            )

    def overlap(self, other: UtcInterval) -> UtcInterval | None:
        """What lies in both; None where nothing does."""
        start = max(self.start_seconds, other.start_seconds)
        end = min(self.end_seconds, other.end_seconds)
        return UtcInterval(start_seconds=start, end_seconds=end) if start < end else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One sampled picture."""

    pixels: NDArray[np.uint8]
    """uint8 [H,W,3], RGB, 0..255, channels last as decoders give them."""
    time: StreamTime
    """When it was taken."""
    frame_index: int
    """Counts the sampled frames of the stream from 0."""

    def __post_init__(self) -> None:
        _check("Frame.pixels", self.pixels, "uint8", (None, None, 3))
        if 0 in self.pixels.shape:
            raise ValueError(f"Frame.pixels has no pixels: {list(self.pixels.shape)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """T consecutive sampled frames of one size that are encoded together: one temporal grid of
    visual tokens.
    """

    stream_id: str
    clip_index: int
    """Counts the clips of the stream from 0, dropped ones included."""
    pixels: NDArray[np.uint8]
    """uint8 [T,H,W,3], RGB."""
    times: tuple[StreamTime, ...]
    """When each frame was taken, [T], not decreasing."""
    frame_seconds: float
    """Seconds that one frame stands for: 1 / sampling rate."""

    def __post_init__(self) -> None:
        _check("Clip.pixels", self.pixels, "uint8", (len(self.times), None, None, 3))
        if not self.times:
            raise ValueError("a clip needs at least one frame")
        if self.frame_seconds <= 0:
            raise ValueError(f"frame_seconds must be positive, got {self.frame_seconds}")
        seconds = [time.pts_seconds for time in self.times]
        if seconds != sorted(seconds):
            raise ValueError(f"the frames of a clip must be in order, got times {seconds}")

    @property
    def pts_seconds(self) -> float:
        """Mean presentation time of the frames."""
        return sum(time.pts_seconds for time in self.times) / len(self.times)

    @property
    def interval(self) -> Interval:
        """From the first frame to the end of the last one."""
        return Interval(start=self.times[0], end=self.times[-1].later(self.frame_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The stream was blind: nothing is known about this interval."""

    interval: Interval
    reason: str
    """A reason of `errors.SourceError`, such as "SOURCE_UNREACHABLE"; or "ENGINE_LATE" and
    "ENGINE_FAILED" where pictures came but were not taken in, "DEGRADED" where what the model made
    of them is no number; "RESTARTED" where what was seen, or would have been, was lost with the
    process, "SNAPSHOT_DAMAGED" where what was kept of it cannot be read any more; "ERASED" where
    somebody had it erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One reading of a source, with times and counts of its own, and where its stream has it."""

    run_id: str = ""
    """Of the run that comes now; empty before the first."""
    is_placed: bool = True
    """False until its first clip or gap says where it lies."""
    shift_seconds: float = 0.0
    """From its presentation times to those of the stream."""
    shift_clips: int = 0
    """From its clip indices to those of the stream."""


class SourceState(StrEnum):
    """What a source is doing."""

    CONNECTING = "connecting"
    LIVE = "live"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    """A file or a push stream is over."""
    FAILED = "failed"
    """It cannot go on by itself: not a video, or a file that is gone."""
    UNKNOWN = "unknown"
    """Only in a client: a word of a service that is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """Said by a source when its state changes or an attempt fails."""

    state: SourceState
    reason: str = ""
    """A reason of `errors.SourceError`; empty when all is well."""
    message: str = ""
    """For people; never holds credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRule:
    """How a model wants its pictures sized: sides that are multiples of a cell, an area within
    bounds.

    The rule of the Qwen2-VL family (`smart_resize` in its published preprocessing): round both
    sides to whole cells; if the area leaves [min_pixels, max_pixels], scale both sides alike and
    round towards the bound.
    """

    cell_pixels: int
    """Side of the square of pixels that becomes one visual token, 28 (Qwen2.5-VL) or 32 (Qwen3-VL).
    """
    min_pixels: int
    max_pixels: int

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) in pixels that a picture of this size is resized to. Raises
        ValueError beyond 200:1.
        """
        if height < 1 or width < 1:
            raise ValueError(f"a picture needs a positive size, got {height} x {width}")
        if max(height, width) / min(height, width) > 200:
            raise ValueError(
                f"aspect ratio {height} x {width} is beyond 200:1, the most the model takes"
            )
        cell = self.cell_pixels
        rows, columns = round(height / cell) * cell, round(width / cell) * cell
        if rows * columns > self.max_pixels:
            scale = math.sqrt(height * width / self.max_pixels)
            rows = max(cell, math.floor(height / scale / cell) * cell)
            columns = max(cell, math.floor(width / scale / cell) * cell)
        elif rows * columns < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (height * width))
            rows = math.ceil(height * scale / cell) * cell
            columns = math.ceil(width * scale / cell) * cell
        return rows, columns


Signal = Literal["salience", "sensitivity"]
"""What a vision tower tells of each token where somebody asks: a field of `VisualTokens`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VisualTokens:
    """All visual tokens of one clip, in raster order."""

    features: Tensor
    """float [N,D], as the language model sees them (after the spatial merge and the projection)."""
    cells: Tensor
    """int64 [N,3], (t, row, column) of each token inside the clip's grid; same device as
    `features`."""
    grid_thw: tuple[int, int, int]
    """Cells of the clip after merging; t * h * w = N."""
    interval: Interval
    """What the clip stands for; grows while nothing changes."""
    pts_seconds: float
    """Mean presentation time of the clip's frames: what a model that is told times is told."""
    deepstack: Tensor | None = None
    """float [Z,N,D]: what Qwen3-VL adds to the hidden states after its first Z layers; None for
    other models."""
    salience: Tensor | None = None
    """float [N], how much the vision tower attends to each token; None where nobody asked."""
    sensitivity: Tensor | None = None
    """float [N], how much each feature changes with what it is made of; None where nobody asked."""
    picture: Tensor | None = None
    """uint8 [H,W,3] cpu, the clip's last frame as it was encoded; None where nobody asked."""

    def __post_init__(self) -> None:
        n = math.prod(self.grid_thw)
        _check("VisualTokens.features", self.features, "float", (n, None))
        _check("VisualTokens.cells", self.cells, "int64", (n, 3))
        if self.deepstack is not None:
            _check("VisualTokens.deepstack", self.deepstack, "float", (None, *self.features.shape))
        if self.salience is not None:
            _check("VisualTokens.salience", self.salience, "float", (n,))
        if self.sensitivity is not None:
            _check("VisualTokens.sensitivity", self.sensitivity, "float", (n,))

    def __len__(self) -> int:
        return int(self.features.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptTokens:
    """What a reducer left of one clip; K may be 0."""

    features: Tensor
    """float [K,D]."""
    cells: Tensor
    """int64 [K,3], (t, row, column) inside the clip's grid; always those of a real token, never
    invented."""
    indices: Tensor
    """int64 [K], rows of the clip's `VisualTokens` that these stand at; strictly increasing."""
    weight: Tensor
    """float32 [K], how many tokens each row stands for: 1 when pruned."""
    grid_thw: tuple[int, int, int]
    """Cells of the whole clip after merging, before reduction."""
    interval: Interval
    pts_seconds: float
    """As in `VisualTokens`."""
    deepstack: Tensor | None = None
    """float [Z,K,D], reduced with the same indices as `features`; None for models without."""
    picture: Tensor | None = None
    """As in `VisualTokens`."""
    owner: Tensor | None = None
    """int64 [N]: which row of the clip each of its rows joined, -1 where it was left out; None
    where rows were only left out, or joined those of other clips (`reduce.Reduced.owners`)."""
    members: Tensor | None = None
    """int64 [K,M,3], cells of M tokens that each row stands for, its own first, some of them again
    where there are fewer; None where its own is all that the model is told."""

    def __post_init__(self) -> None:
        k = len(self)
        _check("KeptTokens.features", self.features, "float", (k, None))
        _check("KeptTokens.cells", self.cells, "int64", (k, 3))
        _check("KeptTokens.indices", self.indices, "int64", (k,))
        _check("KeptTokens.weight", self.weight, "float32", (k,))
        if self.deepstack is not None:
            _check("KeptTokens.deepstack", self.deepstack, "float", (None, *self.features.shape))
        if self.members is not None:
            _check("KeptTokens.members", self.members, "int64", (k, None, 3))

    def __len__(self) -> int:
        return int(self.features.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputTokens:
    """Text and visual tokens in reading order, ready for a prefill."""

    embeddings: Tensor
    """float [S,D]."""
    positions: Tensor
    """int64 [S,3], rotary positions (temporal, height, width); equal on all axes for text."""
    is_visual: Tensor
    """bool [S]."""
    deepstack: Tensor | None = None
    """float [Z,M,D] for the M visual tokens, in order; None for models without."""
    spread: Tensor | None = None
    """int64 [S,M,3], how far from its position M tokens stand that each one stands for, itself
    first (`vlm.spread`); None where each has its position and no other."""

    def __post_init__(self) -> None:
        s = len(self)
        _check("InputTokens.embeddings", self.embeddings, "float", (s, None))
        _check("InputTokens.positions", self.positions, "int64", (s, 3))
        _check("InputTokens.is_visual", self.is_visual, "bool", (s,))
        if self.deepstack is not None:
            visual = int(self.is_visual.sum())
            _check("InputTokens.deepstack", self.deepstack, "float", (None, visual, None))
        if self.spread is not None:
            _check("InputTokens.spread", self.spread, "int64", (s, None, 3))

    def __len__(self) -> int:
        return int(self.embeddings.shape[0])

    @property
    def num_bytes(self) -> int:
        """Bytes of all of it together."""
        kept = (self.embeddings, self.positions, self.is_visual, self.deepstack, self.spread)
        return sum(each.numel() * each.element_size() for each in kept if each is not None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawKV:
    """Keys and values of S tokens in all layers. Keys are raw: taken before rotary positions are
    applied.
    """

    keys: Tensor
    """float [L,G,S,E], before rotary positions (after the key norm where the model has one)."""
    values: Tensor
    """float [L,G,S,E]."""
    positions: Tensor
    """int64 [S,3], the position ledger: rotary positions to apply when the keys are used."""
    spread: Tensor | None = None
    """int64 [S,M,3], as in `InputTokens`."""

    def __post_init__(self) -> None:
        _check("RawKV.keys", self.keys, "float", (None, None, len(self), None))
        _check("RawKV.values", self.values, "float", tuple(self.keys.shape))
        _check("RawKV.positions", self.positions, "int64", (len(self), 3))
        if self.spread is not None:
            _check("RawKV.spread", self.spread, "int64", (len(self), None, 3))

    def __len__(self) -> int:
        return int(self.positions.shape[0])

    @property
    def num_bytes(self) -> int:
        """Bytes of keys, values and positions together."""
        kept = (self.keys, self.values, self.positions, self.spread)
        return sum(each.numel() * each.element_size() for each in kept if each is not None)


class Tier(StrEnum):
    """Where a block lies, fastest first."""

    DEVICE = "device"
    """The model's own memory; host memory where there is no GPU."""
    HOST = "host"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """By what a block is found: raw keys of its visual tokens in the model's index layer, which
    know no positions. All on the CPU.
    """

    mean: Tensor
    """float32 [G,E]."""
    low: Tensor
    """float32 [G,E], the smallest of each number."""
    high: Tensor
    """float32 [G,E], the largest of each number."""
    keys: Tensor
    """float32 [Q,G,E], those of the representative tokens; Q >= 1."""
    tokens: Tensor
    """int64 [Q], where in the block the representative tokens stand."""

    def __post_init__(self) -> None:
        _check("Summary.mean", self.mean, "float32", (None, None))
        _check("Summary.low", self.low, "float32", tuple(self.mean.shape))
        _check("Summary.high", self.high, "float32", tuple(self.mean.shape))
        _check("Summary.keys", self.keys, "float32", (len(self.tokens), *self.mean.shape))
        _check("Summary.tokens", self.tokens, "int64", (None,))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KVBlock:
    """One closed segment in memory: the unit of index, recall and eviction. Immutable."""

    block_id: int
    """Counts the blocks of the stream from 0, with a leap at each restart; never reused."""
    kv: RawKV
    summary: Summary
    interval: Interval
    is_visual: Tensor
    """bool [S] cpu; the rest of the tokens is text."""
    clip_lengths: tuple[int, ...]
    """Tokens of each clip, the text around it included, oldest first; S in all."""

    def __post_init__(self) -> None:
        _check("KVBlock.is_visual", self.is_visual, "bool", (len(self.kv),))
        if sum(self.clip_lengths) != len(self.kv):
            raise ValueError(
                f"KVBlock.clip_lengths must add up to {len(self.kv)}, got {self.clip_lengths}"
            )

    @property
    def num_visual(self) -> int:
        """Visual tokens in the block."""
        return int(self.is_visual.sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recall:
    """Blocks found for a probe, oldest first, with the scores that chose them."""

    blocks: tuple[KVBlock, ...]
    scores: tuple[float, ...]
    """One a block, higher is better: by the rule of the memory (`remember.score`), or the share of
    attention that chose it (`respond.attend`), in [0, 1]."""
    by_layer: Tensor | None = None
    """bool [L,S] cpu: which of the blocks' S tokens, one behind the other, each layer of the
    language model attends to, equally many in all; None: all of them."""

    def __post_init__(self) -> None:
        if self.by_layer is None:
            return
        count = sum(len(block.kv) for block in self.blocks)
        _check("Recall.by_layer", self.by_layer, "bool", (None, count))
        if len(set(counts := self.by_layer.sum(dim=1).tolist())) > 1:
            raise ValueError(f"Recall.by_layer must be equally many in all layers, got {counts}")

    @property
    def num_tokens(self) -> int:
        """That each layer attends to."""
        if self.by_layer is not None:
            return int(self.by_layer[0].sum())
        return sum(len(block.kv) for block in self.blocks)

    @property
    def tokens_of_blocks(self) -> list[int]:
        """How many tokens of each block any layer attends to."""
        lengths = [len(block.kv) for block in self.blocks]
        if self.by_layer is None:
            return lengths
        return [int(each.sum()) for each in self.by_layer.any(dim=0).split(lengths)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How text tokens are chosen from logits."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    """0 = greedy; > 0 = sampling."""
    top_p: float = 1.0
    """In (0, 1]: sample among the fewest tokens whose probabilities reach this sum."""
    seed: int = 0
    """Seed of the sampling; the same seed, memory and question give the same answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a user asks about a stream."""

    question_id: str
    stream_id: str
    text: str
    sampling: Sampling = field(default_factory=Sampling)
    during: UtcInterval | None = None
    """What it asks about; None to read that from the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A stretch of the stream that the answer was given from."""

    interval: Interval
    score: float | None
    """Score of the recalled block; None for what is always in the context (open segment, fresh
    window)."""
    block_id: int | None
    """The recalled block; None for the open segment and the fresh window."""
    num_tokens: int
    """Tokens that it put into the context, those of the text around clips included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownTime:
    """A stretch that was asked about and of which nothing is known."""

    interval: UtcInterval
    reason: str
    """As of a gap, or "BEFORE_MEMORY" where the stream began later or what it showed was forgotten,
    or "NOT_SEEN"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTime:
    """The time that a question asks about, as it was understood."""

    words: str
    """That name it in the question; empty where it came as an interval."""
    intervals: tuple[UtcInterval, ...]
    """Earliest first; without what is ahead."""
    time_zone: str
    """In which the words were read, an IANA name."""
    unknown: tuple[UnknownTime, ...] = ()
    """Earliest first; bounded, the newest stay."""
    notes: tuple[str, ...] = ()
    """For people: what the clocks of the zone made of the words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What somebody looks for in what streams showed."""

    text: str
    stream_ids: tuple[str, ...] = ()
    """Empty for all."""
    during: UtcInterval | None = None
    """Where to look; None to read that from the text."""
    most: int = 10
    """Moments that are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A remembered stretch of a stream that a search found."""

    stream_id: str
    interval: Interval
    score: float
    """How well it fits, as in `Recall`; comparable between streams of one model."""
    block_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found, and where it looked."""

    moments: tuple[Moment, ...] = ()
    """Best first."""
    searched: tuple[str, ...] = ()
    """Streams, in no order."""
    unsearched: tuple[str, ...] = ()
    """Streams that no worker could tell of."""

    def joined(self, other: Found, most: int) -> Found:
        """Both, with at most so many moments."""
        moments = sorted(
            self.moments + other.moments,
            key=lambda each: (-each.score, each.stream_id, each.block_id),
        )
        return Found(
            moments=tuple(moments[:most]),
            searched=self.searched + other.searched,
            unsearched=self.unsearched + other.unsearched,
        )


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Only in a client: a word of a service that is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an answer cost."""

    prompt_tokens: int
    """Tokens prefilled for the question: open segment, fresh window and question text."""
    recalled_tokens: int
    """Cached tokens taken from memory, sinks included."""
    answer_tokens: int
    time_to_first_token_seconds: float
    """From the arrival of the question to its first token, waiting included."""
    total_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerStarted:
    """First event of an answer: what it will be given from."""

    question_id: str
    evidence: tuple[Evidence, ...]
    gaps: tuple[Gap, ...]
    """When the stream was blind, the newest last; bounded by what memory keeps."""
    asked: AskedTime | None = None
    """What is recalled is from this time alone; None where the question names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToken:
    """One more piece of an answer."""

    question_id: str
    text: str
    """May be empty while a character is not complete yet."""
    token_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFinished:
    """Last event of an answer."""

    question_id: str
    text: str
    """The whole answer."""
    finish_reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFailed:
    """Last event of an answer that could not be given."""

    question_id: str
    error: Exception
    """A `StreamVLMError`, or the internal error that stopped it."""


AnswerEvent = AnswerStarted | AnswerToken | AnswerFinished | AnswerFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """How a stream's source is doing."""

    state: SourceState
    reason: str = ""
    message: str = ""
    frames_decoded: int = 0
    frames_sampled: int = 0
    clips_dropped: int = 0
    """Clips thrown away because the engine was late; the oldest go first."""
    reconnects: int = 0
    gaps_total: int = 0
    gap_seconds_total: float = 0.0
    clips_waiting: int = 0
    last_frame: StreamTime | None = None
    blind: Gap | None = None
    """The outage that goes on now, until now; a gap like others once pictures come back."""
    run: Run = Run()
    """Only in a worker, where the runs of ingest become one stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStatus:
    """What lies in one tier in one form."""

    tier: str
    """A `Tier`; in a client perhaps a word of a service that is newer."""
    form: str
    """How keys and values are held: exact, int8, int4, embeddings or pictures."""
    blocks: int
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStatus:
    """What a stream remembers."""

    blocks: int = 0
    """In all tiers."""
    kv_bytes: int = 0
    """On the device, as is the budget."""
    budget_bytes: int = 0
    evicted_blocks: int = 0
    """Forgotten, for whatever reason."""
    lost_blocks: int = 0
    """... of which because the disk could not be written to, or gave back something else."""
    tiers: tuple[TierStatus, ...] = ()
    clips_encoded: int = 0
    clips_unchanged: int = 0
    """Clips that the pixel gate did not encode."""
    tokens_seen: int = 0
    """Visual tokens that went into the reducer."""
    tokens_kept: int = 0
    reduction_bytes: int = 0
    """What the reducer holds for the stream: the clips that wait, and what it compares with."""
    fresh_clips: int = 0
    remembered: Interval | None = None
    """From the oldest to the newest moment that an answer can draw on."""
    gaps: tuple[Gap, ...] = ()
    """The newest gaps, oldest first; bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """One stream as a listing shows it."""

    stream_id: str
    source: str
    """The source's address without credentials."""
    created_utc_seconds: float
    feed: FeedStatus
    memory: MemoryStatus
    time_zone: str = "UTC"
    """IANA name of the zone of times that questions name."""
