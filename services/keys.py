"""Every key in Redis, behind `streamvlm:`: what it holds; who writes it; when it goes.

streams                stream -> its source; ingest; with the stream
removed                stream -> when it was last removed; ingest; the newest 10,000 stay
owner:STREAM           worker, address, epoch; worker; lease of 10 s
epoch:STREAM           newest epoch, older ones may not write; worker; a week after its last beat
carrier:STREAM         which ingest reads the source; ingest; lease of 10 s
workers:WORKER         address, room, sizes of pictures; worker; lease of 10 s
ingests:INGEST         address; ingest; lease of 10 s
rules                  rule -> all of it; gateway; with the rule
rules:version          counts changes of `rules`; gateway; stays, a number
request:METHOD:ID      digest and response of a call that may come twice; gateway; 24 h
events                 Redis Stream, ids NUMBER-0; worker; the newest 20,000 stay
events:run             name of this history, tokens of others are void; gateway; stays, a word
events:number          of the newest event; worker; stays, a number
open                   RULE/STREAM -> alert that has not ended; worker; with its end
outages                stream -> outage that has not ended; worker; with its end
told:ALERT             newest revision in `events`; worker; 8 days
acknowledged:ALERT     who has seen to it, and when; gateway; 30 days
deliveries             Redis Stream, what reached somebody; gateway, notifier; the newest 1,000
route:ROUTE:lease      which notifier delivers to a webhook; notifier; lease of 10 s
route:ROUTE:disabled   why a webhook gets nothing any more; notifier; when somebody wants a replay
route:ROUTE:dead       Redis Stream, what could not be delivered; notifier; the newest 10,000
route:ROUTE:replay     up to which of these all are to be tried again; gateway; when all were
"""

from __future__ import annotations

PREFIX = "streamvlm:"

STREAMS = PREFIX + "streams"
REMOVED = PREFIX + "removed"
RULES = PREFIX + "rules"
RULES_VERSION = PREFIX + "rules:version"
EVENTS = PREFIX + "events"
EVENTS_RUN = PREFIX + "events:run"
EVENTS_NUMBER = PREFIX + "events:number"
OPEN_ALERTS = PREFIX + "open"
OUTAGES = PREFIX + "outages"
DELIVERIES = PREFIX + "deliveries"
WORKERS = PREFIX + "workers:"
INGESTS = PREFIX + "ingests:"

LEASE_SECONDS = 10.0
BEAT_SECONDS = 3.0
"""How often a lease is renewed: twice may fail."""
EPOCH_SECONDS = 7 * 86_400
REQUEST_SECONDS = 86_400
TOLD_SECONDS = 8 * 86_400
ACKNOWLEDGED_SECONDS = 30 * 86_400
MAX_EVENTS = 20_000
"""Some with a picture of 12 kB: less than the memory of the smallest Redis that we start."""
MAX_REMOVED = 10_000
MAX_DELIVERIES = 1_000
MAX_DEAD = 10_000


def owner(stream_id: str) -> str:
    """Who holds a stream's memory."""
    return f"{PREFIX}owner:{stream_id}"


def epoch(stream_id: str) -> str:
    """The newest epoch of a stream's owners."""
    return f"{PREFIX}epoch:{stream_id}"


def carrier(stream_id: str) -> str:
    """Who reads a stream's source."""
    return f"{PREFIX}carrier:{stream_id}"


def request(method: str, request_id: str) -> str:
    """A request that may come twice."""
    return f"{PREFIX}request:{method}:{request_id}"


def told(alert_id: str) -> str:
    """The newest revision of an alert that is in the events."""
    return f"{PREFIX}told:{alert_id}"


def acknowledged(alert_id: str) -> str:
    """Who has seen to an alert."""
    return f"{PREFIX}acknowledged:{alert_id}"


def route(name: str, what: str) -> str:
    """Something about one webhook: `lease`, `disabled`, `dead` or `replay`."""
    return f"{PREFIX}route:{name}:{what}"
