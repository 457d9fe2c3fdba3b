"""The gateway's RuleService: standing questions come and go in Redis, and workers hear of it."""

from __future__ import annotations

import asyncio
import contextlib

import grpc

from services.ids import checked_rule_id, checked_stream_id
from services.pages import page
from services.relay import Channels, relayed
from services.requests import RequestMemory
from services.routes import Routes
from services.rule_table import RuleTable
from streamvlm.alerts import AlertRule
from streamvlm.errors import StreamVLMError
from streamvlm.wire.rules import rule_from_proto, rule_to_proto
from streamvlm.wire.v1 import rule_service_pb2 as pb
from streamvlm.wire.v1 import worker_service_pb2 as worker_pb
from streamvlm.wire.v1.rule_service_pb2_grpc import RuleServiceServicer, RuleServiceStub
from streamvlm.wire.v1.worker_service_pb2_grpc import WorkerServiceStub

LEARN_SECONDS = 1.0
"""What a worker has to learn of a rule."""

_Context = grpc.aio.ServicerContext[object, object]


class RuleServicer(RuleServiceServicer):
    """Checks and keeps. Errors go to `FailureMapper`."""

    def __init__(
        self,
        rules: RuleTable,
        routes: Routes,
        channels: Channels,
        created: RequestMemory[pb.CreateRuleResponse],
        updated: RequestMemory[pb.UpdateRuleResponse],
        deleted: RequestMemory[pb.DeleteRuleResponse],
    ) -> None:
        self._rules, self._routes, self._channels = rules, routes, channels
        self._created, self._updated, self._deleted = created, updated, deleted

    async def CreateRule(
        self, request: pb.CreateRuleRequest, context: _Context
    ) -> pb.CreateRuleResponse:
        """Arm a rule; a repeated request gets the first result."""
        rule = _checked(request.rule)

        async def create() -> pb.CreateRuleResponse:
            await self._rules.add(rule)
            await self._tell_workers()
            return pb.CreateRuleResponse(rule=rule_to_proto(rule))

        return await self._created.once(request.request_id, request, create)

    async def UpdateRule(
        self, request: pb.UpdateRuleRequest, context: _Context
    ) -> pb.UpdateRuleResponse:
        """Arm a rule in the place of another; a repeated request gets the first result."""
        rule = _checked(request.rule)

        async def update() -> pb.UpdateRuleResponse:
            await self._rules.replace(rule)
            await self._tell_workers()
            return pb.UpdateRuleResponse(rule=rule_to_proto(rule))

        return await self._updated.once(request.request_id, request, update)

    async def GetRule(self, request: pb.GetRuleRequest, context: _Context) -> pb.GetRuleResponse:
        """One rule."""
        rule = await self._rules.get(checked_rule_id(request.rule_id))
        return pb.GetRuleResponse(rule=rule_to_proto(rule))

    async def ListRules(
        self, request: pb.ListRulesRequest, context: _Context
    ) -> pb.ListRulesResponse:
        """A page of all rules."""
        rules, next_page_token = page(
            await self._rules.all(),
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
        rule_id = checked_rule_id(request.rule_id)

        async def delete() -> pb.DeleteRuleResponse:
            await self._rules.remove(rule_id)
            await self._tell_workers()
            return pb.DeleteRuleResponse()

        return await self._deleted.once(request.request_id, request, delete)

    async def _tell_workers(self) -> None:
        """A rule counts when its caller hears that it does; a worker that does not answer finds out
        by itself.
        """
        with contextlib.suppress(StreamVLMError):
            addresses = await self._routes.workers()
            await asyncio.gather(*map(self._tell, addresses))

    async def _tell(self, address: str) -> None:
        stub = WorkerServiceStub(self._channels.to(address))
        with contextlib.suppress(grpc.aio.AioRpcError):
            await stub.LearnRules(worker_pb.LearnRulesRequest(), timeout=LEARN_SECONDS)

    async def TestRule(self, request: pb.TestRuleRequest, context: _Context) -> pb.TestRuleResponse:
        """One look, where the stream's memory is."""
        rule_from_proto(request.rule)
        address = await self._routes.worker_of(checked_stream_id(request.stream_id))
        with relayed("the worker"):
            stub = RuleServiceStub(self._channels.to(address))
            response: pb.TestRuleResponse = await stub.TestRule(
                request, timeout=context.time_remaining()
            )
        return response


def _checked(message: pb.Rule) -> AlertRule:
    """Raises RuleError, InvalidInputError."""
    checked_rule_id(message.rule_id)
    for stream_id in message.stream_ids:
        checked_stream_id(stream_id)
    return rule_from_proto(message)
