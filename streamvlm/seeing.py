"""Pictures of remembered clips: small as JPEG, and to visual tokens again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from streamvlm.capture import jpeg
from streamvlm.encode import Encoder
from streamvlm.types import Clip, StreamTime, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JpegSight:
    """A `remember.Sight`."""

    encoder: Encoder
    num_clips: int
    quantiser: int
    """See `capture.jpeg`."""

    def pack(self, picture: Tensor) -> Tensor:
        """See `Sight`."""
        data = jpeg.packed(picture.numpy(), self.quantiser)
        return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())

    def see(self, packed: Sequence[Tensor], start: StreamTime) -> list[VisualTokens]:
        """See `Sight`."""
        return self.encoder.encode(
            [
                Clip(
                    stream_id="",
                    clip_index=0,
                    pixels=jpeg.unpacked(each.numpy().tobytes())[None],
                    times=(start,),
                    frame_seconds=1.0,
                )
                for each in packed
            ]
        )
