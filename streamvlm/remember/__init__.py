"""Remember: closed segments as immutable KV blocks under a byte budget, found again by what they
show.
"""

from streamvlm.remember.memory import KVMemory

__all__ = ["KVMemory"]
