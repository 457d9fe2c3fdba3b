"""The models: the only home of transformers. `load` gives a `VLM`; nothing above asks which one it
is.
"""

from streamvlm.vlm.base import VLM, Context, Prefilled
from streamvlm.vlm.load import load
from streamvlm.vlm.patches import PatchSpec
from streamvlm.vlm.positions import Cursor

__all__ = ["VLM", "Context", "Cursor", "PatchSpec", "Prefilled", "load"]
