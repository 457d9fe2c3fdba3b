"""What memory is searched with: a first pass over the question alone."""

from __future__ import annotations

from torch import Tensor

from streamvlm.types import RawKV
from streamvlm.vlm import VLM


def probe_of(vlm: VLM, text: str, sinks: RawKV) -> Tensor:
    """The probe of a question, float32 [R]; the same for all streams that share their sinks."""
    inputs = vlm.lay_out_question(text, len(sinks))
    return vlm.prefill(inputs, vlm.open_context([sinks])).probe
