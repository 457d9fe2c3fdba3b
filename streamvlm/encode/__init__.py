"""Pictures to visual tokens: the gate that skips still clips, preprocessing, batched encoding."""

from streamvlm.encode.encoder import Encoder, VisionTower
from streamvlm.encode.gate import PixelGate
from streamvlm.encode.preprocess import preprocess, resize

__all__ = ["Encoder", "PixelGate", "VisionTower", "preprocess", "resize"]
