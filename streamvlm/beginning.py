"""How streams begin: the pipeline that a config describes, around what all streams share."""

from __future__ import annotations

import logging
from pathlib import Path

from streamvlm.config import Config
from streamvlm.encode import Encoder
from streamvlm.errors import ConfigError
from streamvlm.pipeline import StreamPipeline
from streamvlm.recalling import Recalling
from streamvlm.reduce import build_reducer, open_stream
from streamvlm.remember import (
    KVMemory,
    RecallSettings,
    Rung,
    SharedBudget,
    Storage,
    forms_of,
)
from streamvlm.seeing import JpegSight
from streamvlm.types import Tier
from streamvlm.vlm import VLM

log = logging.getLogger(__name__)

MAX_TEXT_TOKENS_PER_CLIP = 32
"""More than any clip layout writes around its visual tokens."""
MOST_BYTES_PER_PIXEL = 3
"""Of a picture that a block keeps; noise at the finest quantiser takes 2.3."""


class Beginning:
    """The reducer, the sinks and the budget of all streams of a model, made once."""

    def __init__(self, vlm: VLM, config: Config) -> None:
        """Raises ConfigError, also where a segment cannot fit into a stream's memory."""
        self._vlm, self._config = vlm, config
        self._reducer = build_reducer(config.reduce)
        self.encoder = Encoder(
            tower=vlm,
            max_batch_clips=config.encode.max_batch_clips,
            signals=self._reducer.needs,
            keeps_pictures=config.remember.holds_pictures,
        )
        """Of the clips of all streams."""
        prefix, self._cursor = vlm.lay_out_prefix()
        self._sinks = vlm.prefill(prefix, vlm.open_context([])).kv
        remember = config.remember
        self._lower = tuple(
            rung
            for rung in (
                Rung(
                    tier=Tier.HOST,
                    budget_bytes=remember.host_budget_bytes,
                    form=remember.host_form,
                    keep=remember.host_keep,
                ),
                Rung(
                    tier=Tier.DISK,
                    budget_bytes=remember.disk_budget_bytes,
                    form=remember.disk_form,
                    keep=remember.disk_keep,
                ),
            )
            if rung.budget_bytes
        )
        self._sight = JpegSight(
            encoder=Encoder(tower=vlm, max_batch_clips=config.encode.max_batch_clips),
            num_clips=remember.picture_clips,
            quantiser=remember.picture_quantiser,
        )
        self._check_budget()
        totals = {
            Tier.DEVICE: remember.total_budget_bytes,
            Tier.HOST: remember.total_host_budget_bytes,
            Tier.DISK: remember.total_disk_budget_bytes,
        }
        self._shared = SharedBudget({tier: limit for tier, limit in totals.items() if limit})

    def pipeline(self, folder: Path | None = None) -> StreamPipeline:
        """A stream that has seen nothing; `folder` is for what it keeps on the disk. Raises
        ConfigError where there is none and the config wants one.
        """
        if folder is None and self._config.remember.disk_budget_bytes:
            raise ConfigError(
                f"remember.disk_budget_bytes = {self._config.remember.disk_budget_bytes} needs a "
                "folder for snapshots; without one it must be 0"
            )
        remember, respond = self._config.remember, self._config.respond
        settings = RecallSettings(
            score=remember.score,
            exact_vectors=remember.exact_vectors,
            max_tokens=remember.recall_tokens,
            choice=remember.recall_choice,
            candidate_tokens=remember.candidate_tokens,
            group_tokens=remember.group_tokens,
            selection=remember.recall_selection,
            newest_blocks=remember.newest_blocks,
            gate=remember.recall_gate,
            now_recalls_nothing=remember.now_recalls_nothing,
        )
        recalling = Recalling(
            vlm=self._vlm,
            memory=self._memory(settings, folder),
            settings=settings,
            num_blocks=respond.recall_blocks,
            policy=remember.position_policy,
            max_span=remember.max_span,
        )
        return StreamPipeline(
            self._vlm,
            open_stream(self._reducer, remember.segment_clips),
            recalling,
            self._cursor,
            gate_threshold=self._config.encode.gate_threshold,
            fresh_clips=respond.fresh_clips,
            max_question_tokens=respond.max_question_tokens,
        )

    def _memory(self, settings: RecallSettings, folder: Path | None) -> KVMemory:
        remember = self._config.remember
        return KVMemory(
            self._vlm,
            self._sinks,
            budget_bytes=remember.budget_bytes,
            local_blocks=remember.local_blocks,
            policy=remember.position_policy,
            max_span=remember.max_span,
            recall=settings,
            storage=Storage(
                lower=self._lower,
                evict=remember.evict,
                shared=self._shared,
                folder=folder,
                sight=self._sight,
            ),
        )

    def _check_budget(self) -> None:
        rule, remember = self._vlm.patch_spec.rule, self._config.remember
        most_cells = rule.max_pixels // rule.cell_pixels**2
        tokens = remember.segment_clips * (most_cells + MAX_TEXT_TOKENS_PER_CLIP)
        each = self._vlm.kv_bytes_per_token
        if "embeddings" in forms_of(self._lower):
            each += self._vlm.input_bytes_per_token
        needed = tokens * each
        if "pictures" in forms_of(self._lower):
            pictures = min(remember.picture_clips, remember.segment_clips)
            needed += pictures * MOST_BYTES_PER_PIXEL * rule.max_pixels
        log.info(
            "model %s: a stream's memory of %d bytes holds %d tokens; a clip has at most %d",
            self._vlm.name,
            remember.budget_bytes,
            remember.budget_bytes // each,
            most_cells,
        )
        for name in ("budget_bytes", "total_budget_bytes"):
            if needed > (budget := getattr(remember, name)) and budget:
                raise ConfigError(
                    f"remember.{name} = {budget} cannot hold one segment of "
                    f"{remember.segment_clips} clips; this model needs at least {needed}"
                )
