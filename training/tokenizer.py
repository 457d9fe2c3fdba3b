"""Mini's tokenizer: a byte-level BPE whose merges are learnt from what mini is asked and answers.

Any text in any language survives it, byte by byte where it has to; digits stand alone, as in
Qwen's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from streamvlm.evaluate.world import drafts
from streamvlm.evaluate.world.phrasings import HELD_OUT, TRAIN
from streamvlm.evaluate.world.things import COLORS, DIRECTIONS, KINDS, SHAPES, SIZES, ZONES
from streamvlm.vlm.random_weights import CHAT_TEMPLATE, SPECIAL_TOKENS


@cache
def tokenizer() -> Any:
    """The same each time."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _corpus() -> Iterator[str]:
    for words in ([*COLORS], SHAPES, [*SIZES], [*DIRECTIONS], [z for row in ZONES for z in row]):
        yield from (word for word in words)
        yield from (f" {word}" for word in words)
    answers = (
        drafts.NOT_THERE,
        drafts.NOT_SEEN,
        drafts.NO_NUMBER,
        drafts.NOT_MOVING,
        drafts.NOTHING,
        "yes",
        "no",
    )
    yield from (*answers, "user\n", "assistant\n", "system\n", "<12.5 seconds>", "12 seconds")
    for ways in (TRAIN, HELD_OUT):
        for templates in ways.values():
            for index, template in enumerate(templates):
                kind = KINDS[index % len(KINDS)]
                yield template.format(
                    kind=kind, color=kind.color, shape=kind.shape, zone="top", count=1, seconds=12
                )
