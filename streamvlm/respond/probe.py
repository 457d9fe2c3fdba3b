"""What memory is searched with: a first pass over the question alone."""

from __future__ import annotations

from streamvlm.types import RawKV
from streamvlm.vlm import VLM, Prefilled


def first_pass(vlm: VLM, text: str, sinks: RawKV) -> Prefilled:
    """Of a question. Its probe is the same for all streams that share their sinks."""
    inputs = vlm.lay_out_question(text, len(sinks))
    return vlm.prefill(inputs, vlm.open_context([sinks]))
