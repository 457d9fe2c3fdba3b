"""The worker's part of RuleService: how a rule would see a stream now."""

from __future__ import annotations

import asyncio

import grpc

from services.host import EngineHost
from services.ids import checked_stream_id
from streamvlm.wire.rules import rule_from_proto
from streamvlm.wire.times import instant_to_proto
from streamvlm.wire.v1 import rule_service_pb2 as pb
from streamvlm.wire.v1.rule_service_pb2_grpc import RuleServiceServicer

_Context = grpc.aio.ServicerContext[object, object]


class TrialServicer(RuleServiceServicer):
    """Looks once. Errors go to `FailureMapper`."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host

    async def TestRule(self, request: pb.TestRuleRequest, context: _Context) -> pb.TestRuleResponse:
        """The margin of one look."""
        rule, stream_id = rule_from_proto(request.rule), checked_stream_id(request.stream_id)
        engine = self._host.engine
        looking = engine.rules.try_once(stream_id, rule.text)
        engine.wake()
        margin, observed = await asyncio.wrap_future(looking)
        return pb.TestRuleResponse(
            margin=margin,
            is_reached=margin >= rule.enter_threshold,
            observed=instant_to_proto(observed),
        )
