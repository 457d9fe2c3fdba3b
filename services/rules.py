"""RuleService: standing questions come and go."""

from __future__ import annotations

import asyncio

import grpc

from services.host import EngineHost
from services.ids import checked_rule_id, checked_stream_id
from services.pages import page
from services.requests import RequestMemory
from streamvlm.wire.rules import rule_from_proto, rule_to_proto
from streamvlm.wire.v1 import rule_service_pb2 as pb
from streamvlm.wire.v1.rule_service_pb2_grpc import RuleServiceServicer

_Context = grpc.aio.ServicerContext[object, object]


class RuleServicer(RuleServiceServicer):
    """Translates and routes. Errors go to `FailureMapper`."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host
        self._created: RequestMemory[pb.CreateRuleResponse] = RequestMemory()
        self._deleted: RequestMemory[pb.DeleteRuleResponse] = RequestMemory()

    async def close(self) -> None:
        """End the work that goes on without its callers."""
        await asyncio.gather(self._created.close(), self._deleted.close())

    async def CreateRule(
        self, request: pb.CreateRuleRequest, context: _Context
    ) -> pb.CreateRuleResponse:
        """Arm a rule; a repeated request gets the first result."""
        checked_rule_id(request.rule.rule_id)
        for stream_id in request.rule.stream_ids:
            checked_stream_id(stream_id)
        return await self._created.once(request.request_id, request, lambda: self._create(request))

    async def _create(self, request: pb.CreateRuleRequest) -> pb.CreateRuleResponse:
        rule = rule_from_proto(request.rule)
        self._host.engine.rules.add(rule)
        return pb.CreateRuleResponse(rule=rule_to_proto(rule))

    async def GetRule(self, request: pb.GetRuleRequest, context: _Context) -> pb.GetRuleResponse:
        """One rule."""
        rule = self._host.engine.rules.get(checked_rule_id(request.rule_id))
        return pb.GetRuleResponse(rule=rule_to_proto(rule))

    async def ListRules(
        self, request: pb.ListRulesRequest, context: _Context
    ) -> pb.ListRulesResponse:
        """A page of all rules."""
        rules, next_page_token = page(
            self._host.engine.rules.all(),
            lambda rule: rule.rule_id,
            request.page_size,
            request.page_token,
        )
        return pb.ListRulesResponse(
            rules=map(rule_to_proto, rules), next_page_token=next_page_token
        )

    async def DeleteRule(
        self, request: pb.DeleteRuleRequest, context: _Context
    ) -> pb.DeleteRuleResponse:
        """Disarm a rule; a repeated request gets the first result."""
        checked_rule_id(request.rule_id)
        return await self._deleted.once(request.request_id, request, lambda: self._delete(request))

    async def _delete(self, request: pb.DeleteRuleRequest) -> pb.DeleteRuleResponse:
        self._host.engine.rules.remove(request.rule_id)
        return pb.DeleteRuleResponse()
