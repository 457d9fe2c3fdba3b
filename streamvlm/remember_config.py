"""Settings of a stream's memory: how much, in which tiers and forms, and how it is searched."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from streamvlm.section import Bytes, Form, Positive, Section, Share


class RememberConfig(Section):
    """KV memory of one stream."""

    budget_bytes: Positive = 256 * 2**20
    """Keys, values and ledgers of one stream on the device, and embeddings that a tier below wants,
    never exceed this; what has no room there goes down, to the host, to the disk, and is forgotten
    below the last of them."""
    host_budget_bytes: Bytes = 0
    """The same in host memory, pinned where there is a GPU. 0: not used."""
    disk_budget_bytes: Bytes = 0
    """The same in files beside the snapshots. 0: not used."""
    host_form: Form = "exact"
    """What keys and values are shrunk to there, see `remember.quantise`; or `embeddings`, the
    smallest of tokens: what they are made again from, by a forward over each block that is read,
    and with mini far from what they were; or `pictures`, the smallest of all: seen again by the
    vision tower, then as embeddings. See `remember.again`. `local_blocks` that lie so are made
    again for each new block."""
    disk_form: Form = "exact"
    """The same for the disk; what came as int8 stays at least as coarse."""
    picture_clips: Positive = 4
    """Clips of a block of which a frame is kept where it becomes pictures, evenly spaced; 1: the
    middle one. With mini the more the better."""
    picture_quantiser: Annotated[int, Field(ge=1, le=31)] = 3
    """How coarse the JPEG of these is: FFmpeg's `q`, 1 the finest."""
    host_keep: Share = 1.0
    """The share of its visual tokens that a block keeps there: those most unlike the others."""
    disk_keep: Share = 1.0
    """The same for the disk, of what comes."""
    evict: Literal["oldest", "least_recalled", "lowest_weight"] = "oldest"
    """Which block goes down next: the oldest, the one that the fewest questions were answered from,
    or the one of the fewest visual tokens."""
    total_budget_bytes: Bytes = 0
    """All streams of a process together on the device; the largest gives way. 0: no such bound."""
    total_host_budget_bytes: Bytes = 0
    """The same in host memory."""
    total_disk_budget_bytes: Bytes = 0
    """The same in files."""
    segment_clips: Positive = 4
    """Clips that close a segment and become one block."""
    local_blocks: Annotated[int, Field(ge=0)] = 16
    """Newest blocks that a new segment attends to while it is prefilled, besides the sinks."""
    position_policy: Literal["keep", "clamp", "compact"] = "keep"
    """Rotary positions of remembered blocks: as they were; with gaps capped; or without gaps."""
    max_span: Positive = 24_000
    """Widest range of rotary positions in one context. Beyond it `keep` closes the gap behind the
    sinks; what is still wider turns into `clamp`."""
    score: Literal["mean", "cosine", "representatives", "vote", "bound"] = "vote"
    """How blocks are compared with a question, see `remember.score`."""
    exact_vectors: Positive = 200_000
    """With more vectors in the index, up to five a block, not all are compared with a question."""
    recall_tokens: Annotated[int, Field(ge=0)] = 0
    """Of the blocks that come back, the tokens that fit best, up to so many; 0: whole blocks."""
    recall_choice: Literal["best", "cdpruner", "metok", "quota", "recoverable", "vilamp"] = "best"
    """Which tokens those are, see `remember.choosing`."""
    candidate_tokens: Annotated[int, Field(ge=0)] = 32_768
    """Of what fits a question best by the index, up to so many tokens, that comes back which the
    model attends to most; 0: the index alone decides."""
    group_tokens: Positive = 4_096
    """... so many at a time; of each group half goes on."""
    recall_selection: Literal["shared", "per_layer"] = "shared"
    """What any layer attends to most comes back for all of them, or each gets what it attends to
    most itself, as many tokens, see `respond.select`; where `recall_tokens` bounds those, whole
    blocks up to so many, and no `recall_choice`."""
    newest_blocks: Annotated[int, Field(ge=0)] = 0
    """So many come back besides what is found, unless the question names a time."""
    recall_gate: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Nothing comes back unless the best block scores this many (robust) standard deviations above
    the stream's usual one; 0: no such condition."""
    now_recalls_nothing: bool = True
    """What says that it is about now brings nothing back, see `respond.now`."""
    snapshot_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 60.0
    """How often what a stream remembers is written to the disk, besides when the service ends: as
    much is lost at most when it is killed. 0: never, and nothing outlives a restart."""

    @model_validator(mode="after")
    def _check_effect(self) -> RememberConfig:
        """A setting that has no effect beside the others is a mistake."""
        needs: list[tuple[str, Any, str]] = [
            ("recall_choice", "best", "recall_tokens"),
            ("recall_selection", "shared", "candidate_tokens"),
        ]
        for tier in ("host", "disk"):
            budget = f"{tier}_budget_bytes"
            needs += [
                (f"{tier}_form", "exact", budget),
                (f"{tier}_keep", 1.0, budget),
                (f"total_{budget}", 0, budget),
            ]
        for name, unused, needed in needs:
            if not getattr(self, needed) and (value := getattr(self, name)) != unused:
                raise ValueError(f"{name} = {value!r} has no effect without {needed}")
        for name in ("picture_clips", "picture_quantiser"):
            value = getattr(self, name)
            if not self.holds_pictures and value != type(self).model_fields[name].default:
                raise ValueError(f"{name} = {value!r} has no effect without a form of pictures")
        if self.recall_selection != "shared" and self.recall_choice != "best":
            raise ValueError(
                f"recall_choice = {self.recall_choice!r} has no effect with "
                f"recall_selection = {self.recall_selection!r}"
            )
        return self

    @property
    def holds_pictures(self) -> bool:
        """Whether a tier holds blocks as pictures."""
        return "pictures" in (self.host_form, self.disk_form)
