"""`streamvlm.about`, under the name that strategies know it by."""

from streamvlm.about import About

__all__ = ["About"]
