"""Pictures to visual tokens: the gate that skips still clips, preprocessing, batched encoding."""

from streamvlm.encode.encoder import Encoder, VisionTower
from streamvlm.encode.finite import check_finite
from streamvlm.encode.gate import PixelGate
from streamvlm.encode.preprocess import preprocess, resize
from streamvlm.encode.scene import scene_of, scenes_differ

__all__ = [
    "Encoder",
    "PixelGate",
    "VisionTower",
    "check_finite",
    "preprocess",
    "resize",
    "scene_of",
    "scenes_differ",
]
