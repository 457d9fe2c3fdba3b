"""The calls of `Client` about standing questions."""

from __future__ import annotations

from typing import Any

from streamvlm.alerts import AlertRule
from streamvlm.connection import Connection
from streamvlm.wire.rules import RuleTrial, rule_from_proto, rule_to_proto, trial_from_proto
from streamvlm.wire.v1 import rule_service_pb2 as rule_pb
from streamvlm.wire.v1.rule_service_pb2_grpc import RuleServiceStub


class RuleCalls:
    """What is raised is told at `Client`, which makes the connection."""

    _connection: Connection
    _limits: dict[str, Any]
    _rules: RuleServiceStub

    def create_rule(self, rule: AlertRule, *, request_id: str = "") -> AlertRule:
        """Arm a standing question."""
        with self._connection.errors():
            request = rule_pb.CreateRuleRequest(rule=rule_to_proto(rule), request_id=request_id)
            response = self._rules.CreateRule(request, **self._limits)
            return rule_from_proto(response.rule)

    def get_rule(self, rule_id: str) -> AlertRule:
        """One rule."""
        with self._connection.errors():
            request = rule_pb.GetRuleRequest(rule_id=rule_id)
            response = self._rules.GetRule(request, **self._limits)
            return rule_from_proto(response.rule)

    def list_rules(self) -> list[AlertRule]:
        """All rules, by id."""
        rules: list[AlertRule] = []
        request = rule_pb.ListRulesRequest()
        while True:
            with self._connection.errors():
                response = self._rules.ListRules(request, **self._limits)
            rules += map(rule_from_proto, response.rules)
            if not response.next_page_token:
                return rules
            request.page_token = response.next_page_token

    def update_rule(self, rule: AlertRule, *, request_id: str = "") -> AlertRule:
        """Arm a standing question in the place of the one with its id."""
        with self._connection.errors():
            request = rule_pb.UpdateRuleRequest(rule=rule_to_proto(rule), request_id=request_id)
            response = self._rules.UpdateRule(request, **self._limits)
            return rule_from_proto(response.rule)

    def test_rule(self, rule: AlertRule, stream_id: str) -> RuleTrial:
        """Look at a stream once, as the rule would; changes nothing."""
        with self._connection.errors():
            request = rule_pb.TestRuleRequest(rule=rule_to_proto(rule), stream_id=stream_id)
            response = self._rules.TestRule(request, **self._limits)
            return trial_from_proto(response)

    def delete_rule(self, rule_id: str, *, request_id: str = "") -> None:
        """Disarm a rule; what it was firing about is not told any more."""
        with self._connection.errors():
            request = rule_pb.DeleteRuleRequest(rule_id=rule_id, request_id=request_id)
            self._rules.DeleteRule(request, **self._limits)
