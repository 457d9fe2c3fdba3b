"""Rules in Redis: the gateway writes them, workers ask for them when their version has changed."""

from __future__ import annotations

from services import keys
from services.store import Store
from streamvlm.alerts import AlertRule
from streamvlm.errors import CapacityError, RuleExistsError, RuleNotFoundError
from streamvlm.wire.rules import rule_from_proto, rule_to_proto
from streamvlm.wire.v1 import rule_service_pb2 as pb

_ADD = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return -1 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return -2 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('INCR', KEYS[2])
return 1
"""
_REPLACE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('INCR', KEYS[2])
return 1
"""
_REMOVE = """
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return -1 end
redis.call('INCR', KEYS[2])
return 1
"""
_KEYS = [keys.RULES, keys.RULES_VERSION]


class RuleTable:
    """At most `max_rules` rules. Every method raises MetadataError."""

    def __init__(self, store: Store, max_rules: int) -> None:
        self._store, self._redis, self._max_rules = store, store.redis, max_rules
        self._add, self._replace = store.script(_ADD), store.script(_REPLACE)
        self._remove = store.script(_REMOVE)

    async def add(self, rule: AlertRule) -> None:
        """One more. Raises RuleExistsError, CapacityError."""
        with self._store.errors():
            told = await self._add(_KEYS, [rule.rule_id, _written(rule), self._max_rules])
        if told == -1:
            raise RuleExistsError(f"rule {rule.rule_id!r} exists already")
        if told == -2:
            raise CapacityError(
                f"{self._max_rules} rules are armed, watch.max_rules allows no more"
            )

    async def replace(self, rule: AlertRule) -> None:
        """This one in the place of that with its id. Raises RuleNotFoundError."""
        with self._store.errors():
            told = await self._replace(_KEYS, [rule.rule_id, _written(rule)])
        if told == -1:
            raise RuleNotFoundError(f"no rule {rule.rule_id!r}")

    async def remove(self, rule_id: str) -> None:
        """Raises RuleNotFoundError."""
        with self._store.errors():
            told = await self._remove(_KEYS, [rule_id])
        if told == -1:
            raise RuleNotFoundError(f"no rule {rule_id!r}")

    async def get(self, rule_id: str) -> AlertRule:
        """One rule. Raises RuleNotFoundError."""
        with self._store.errors():
            value = await self._redis.hget(keys.RULES, rule_id)
        if value is None:
            raise RuleNotFoundError(f"no rule {rule_id!r}")
        return _read(value)

    async def all(self) -> list[AlertRule]:
        """All rules, by id."""
        with self._store.errors():
            values = await self._redis.hvals(keys.RULES)
        return sorted(map(_read, values), key=lambda rule: rule.rule_id)

    async def version(self) -> int:
        """Another number after each change."""
        with self._store.errors():
            return int(await self._redis.get(keys.RULES_VERSION) or 0)


def _written(rule: AlertRule) -> bytes:
    return rule_to_proto(rule).SerializeToString(deterministic=True)


def _read(value: bytes) -> AlertRule:
    return rule_from_proto(pb.Rule.FromString(value))
