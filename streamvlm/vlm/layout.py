"""How a stream is written for a Qwen-VL model: its chat template, its clips, the question.

start of the user's turn | video prefix | clip | clip | ... | video suffix | question | end of it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from streamvlm.errors import CheckpointError
from streamvlm.types import InputTokens, KeptTokens, VisualTokens
from streamvlm.vlm.positions import Cursor, text_positions

QUESTION_MARK = "\x00question\x00"
"""Stands for the user's turn while the chat template is split; cannot occur in a template."""

_KNOWN_TEXTS, _KNOWN_QUESTIONS = 256, 4
"""Texts whose tokens are remembered: one clip is laid out, one question asked, more than once."""


class ClipLayout(Protocol):
    """How one family writes a clip: text before, positions of the visual tokens, text after. From
    one token of a clip to another it is as far in positions as in cells.
    """

    def __call__(
        self, layout: QwenLayout, tokens: KeptTokens | VisualTokens, cursor: Cursor
    ) -> tuple[str, Tensor, str, Cursor]:
        """Text before the visual tokens, their positions int64 [K,3], text after them, and the next
        cursor.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What differs between the Qwen-VL generations."""

    model_type: str
    """`model_type` in the checkpoint's config.json."""
    model_class: Any
    """The transformers class."""
    video_prefix: str
    """Text between the start of the user's turn and the first clip."""
    video_suffix: str
    """Text between the last clip and the question."""
    clip_layout: ClipLayout
    positions_scheme: str
    """Name of how `clip_layout` places clips; another one when that changes."""
    moving_axes: tuple[bool, bool, bool]
    raw_key_module: str
    """Child of the attention module whose output is the raw key."""
    raw_query_module: str
    """The same for the raw query."""
    has_deepstack: bool


class QwenLayout:
    """Writes for one checkpoint, with its tokenizer, its chat template and its embeddings."""

    def __init__(
        self, family: Family, config: Any, tokenizer: Any, embed_tokens: nn.Embedding
    ) -> None:
        self.config = config
        """The transformers config of the checkpoint."""
        self._family, self._tokenizer, self._embed_tokens = family, tokenizer, embed_tokens
        self._own_ids = lru_cache(maxsize=_KNOWN_TEXTS)(self._tokenize)
        self._question_ids = lru_cache(maxsize=_KNOWN_QUESTIONS)(self.plain_ids)
        self.turn_start, self.turn_end = self._split_chat_template()

    @property
    def positions_scheme(self) -> str:
        """How clips are placed, by name."""
        return self._family.positions_scheme

    @cached_property
    def video_start(self) -> int:
        """Position of the first visual token where clips are placed by time: the end of the
        prefix.
        """
        return len(self.token_ids(self.turn_start + self._family.video_prefix))

    def token_ids(self, text: str) -> list[int]:
        """Tokenize our own text: special tokens in it are special."""
        return list(self._own_ids(text))

    def plain_ids(self, text: str) -> list[int]:
        """Tokenize somebody else's text: what looks like a special token in it is plain text."""
        ids: list[int] = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=True
        ).input_ids
        return ids

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def text(self, token_ids: Sequence[int], start: int) -> InputTokens:
        """Text tokens that count up from position `start`."""
        return self.text_at(token_ids, range(start, start + len(token_ids)))

    def text_at(self, token_ids: Sequence[int], positions: Sequence[int]) -> InputTokens:
        """Text tokens, each at its own position on all axes."""
        return InputTokens(
            embeddings=self._embed(token_ids),
            positions=torch.tensor(positions, dtype=torch.int64)[:, None]
            .expand(-1, 3)
            .contiguous(),
            is_visual=torch.zeros(len(token_ids), dtype=torch.bool),
        )

    def prefix(self) -> tuple[InputTokens, Cursor]:
        """What comes before all video, and where the first clip goes."""
        inputs = self.text(self.token_ids(self.turn_start + self._family.video_prefix), 0)
        return inputs, Cursor(text=len(inputs), temporal=len(inputs))

    def clip(self, tokens: KeptTokens | VisualTokens, cursor: Cursor) -> tuple[InputTokens, Cursor]:
        """A clip at the cursor, and the next cursor."""
        start = cursor.text
        before, positions, after, cursor = self._family.clip_layout(self, tokens, cursor)
        before_ids, after_ids = self.token_ids(before), self.token_ids(after)
        first, last = len(before_ids), len(before_ids) + len(tokens)
        is_visual = torch.zeros(last + len(after_ids), dtype=torch.bool)
        is_visual[first:last] = True
        inputs = InputTokens(
            embeddings=torch.cat(
                [self._embed(before_ids), tokens.features, self._embed(after_ids)]
            ),
            positions=torch.cat(
                [
                    text_positions(start, len(before_ids)),
                    positions,
                    text_positions(cursor.text - len(after_ids), len(after_ids)),
                ]
            ),
            is_visual=is_visual,
            deepstack=tokens.deepstack,
            spread=_spread(tokens, is_visual),
        )
        return inputs, cursor

    def question(self, text: str, position: int) -> InputTokens:
        """What comes after all video. Special tokens written in `text` are plain characters."""
        return self.text(self.question_ids(text), position)

    def question_ids(self, text: str) -> list[int]:
        """The tokens of `question`."""
        before, after = self.token_ids(self._family.video_suffix), self.token_ids(self.turn_end)
        return [*before, *self._question_ids(text), *after]

    def _embed(self, token_ids: Sequence[int]) -> Tensor:
        # Not by `device=`, which would wait for all that the device is at.
        ids = torch.tensor(token_ids, dtype=torch.long)
        embedded: Tensor = self._embed_tokens(
            ids.to(self._embed_tokens.weight.device, non_blocking=True)
        )
        return embedded

    def _split_chat_template(self) -> tuple[str, str]:
        """What the chat template puts before and after the content of the first user turn."""
        rendered = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": QUESTION_MARK}], tokenize=False, add_generation_prompt=True
        )
        before, mark, after = rendered.partition(QUESTION_MARK)
        if not mark:
            raise CheckpointError("the checkpoint's chat template leaves out what the user says")
        return before, after


def _spread(tokens: KeptTokens | VisualTokens, is_visual: Tensor) -> Tensor | None:
    """int64 [S,M,3] of a clip, the text around it included; None where no token keeps others'
    positions.
    """
    if isinstance(tokens, VisualTokens) or tokens.members is None:
        return None
    spread = torch.zeros(len(is_visual), *tokens.members.shape[1:], dtype=torch.int64)
    spread[is_visual] = (tokens.members - tokens.cells[:, None]).cpu()
    return spread
