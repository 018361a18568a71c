"""Cedar decides: `cedarpy` answers an exported policy in the four worlds, and the verdict is read off the answers."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import cedarpy as untyped_cedarpy

from superagent.core.cedar import export, scalar
from superagent.core.policy import Policy, Verdict
from superagent.core.principal import Principal
from superagent.core.resources import Effect, Resource
from superagent.core.steering import SteeringPaths
from tests.core.operations import OPERATIONS
from tests.core.random_policies import Request

cedarpy: Any = untyped_cedarpy  # its signatures name bare dicts
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Oracle:
    """One policy, given to Cedar."""

    def __init__(self, policy: Policy) -> None:
        written = export(policy, OPERATIONS.values())
        self._roots = policy.roots
        self.text = written.policies
        checked = cedarpy.validate_policies(written.policies, written.schema)
        assert checked.validation_passed, (checked.errors, written.policies)
        self._policies = cedarpy.PolicySet.from_str(written.policies)
        self._schema = cedarpy.Schema.from_str(written.schema)
        self._spellings = set(re.findall(r"\b(?:h|t|w\d+_)\d+(?=\?)", written.schema))

    def verdict(self, request: Request) -> Verdict:
        """Ask in every world for every hop and resource."""
        # what changes must be one of the things named, else each of them is judged as what changes
        named = any(one.effect == request.operation.effect for one in request.resources)
        stronger = any(one.effect > request.operation.effect for one in request.resources)
        worlds = [True] * 4
        for hop in request.principal.chain():
            for resource in request.resources or (None,):
                effect = request.operation.effect if resource is None or not (named or stronger) else resource.effect
                effect = effect if resource is None else max(effect, resource.effect)
                if any(worlds):
                    answers = self._ask(request, hop, resource, effect)
                    worlds = [a and b for a, b in zip(worlds, answers, strict=True)]
        as_is, fresh, approved, both = worlds
        return "allow" if as_is else "step_up" if fresh else "ask" if approved else "step_up" if both else "deny"

    def _ask(self, request: Request, hop: Principal, resource: Resource | None, effect: Effect) -> list[bool]:
        entity, here = self._resource(hop, resource)
        tags = {name.rstrip("_"): scalar(value) for name, value in request.facts.args.items() if plain(value)}
        entities: list[dict[str, Any]] = [
            {
                "uid": {"type": "Principal", "id": "hop"},
                "attrs": {},
                "parents": [{"type": "Subject", "id": one} for one in hop.subjects],
            },
            {"uid": {"type": "Input", "id": "input"}, "attrs": {}, "parents": [], "tags": tags},
            {"uid": entity, "attrs": here, "parents": []},
        ]
        known = cedarpy.Entities.from_json_str(json.dumps(entities), self._schema)
        asked = [
            {
                "principal": {"type": "Principal", "id": "hop"},
                "action": {"type": "Action", "id": request.operation.name},
                "resource": entity,
                "context": self._context(request, effect, fresh, approved),
            }
            for fresh, approved in ((False, False), (True, False), (False, True), (True, True))
        ]
        answers = cedarpy.is_authorized_batch(asked, self._policies, known, self._schema)
        assert not any(answer.diagnostics.errors for answer in answers), [one.diagnostics.errors for one in answers]
        assert all(one.decision in (cedarpy.Decision.Allow, cedarpy.Decision.Deny) for one in answers)
        return [answer.decision == cedarpy.Decision.Allow for answer in answers]

    def _context(self, request: Request, effect: Effect, fresh: bool, approved: bool) -> dict[str, Any]:
        facts, operation = request.facts, request.operation
        at = EPOCH + timedelta(seconds=math.floor(facts.now))
        out: dict[str, Any] = {
            "effect": effect.name,
            "undoable": operation.takes_back == "undo" or operation.effect == Effect.READ,
            "origin": facts.origin,
            "risk": int(facts.risk),
            "isolation": facts.isolation,
            "week_min": at.weekday() * 1440 + at.hour * 60 + at.minute,
            "now": math.floor(facts.now),
            "approvals": 10 if approved else facts.approvals,
            "input": {"__entity": {"type": "Input", "id": "input"}},
            "opaque": [name.rstrip("_") for name, value in facts.args.items() if not plain(value)],
        }
        age = 0.0 if fresh else facts.second_factor_age_s
        if age is not None:
            out["mfa_age_s"] = math.ceil(age)
        if address := address_of(facts.remote):
            out["remote"] = {"__extn": {"fn": "ip", "arg": address}}
        return out

    def _resource(self, hop: Principal, resource: Resource | None) -> tuple[dict[str, str], dict[str, Any]]:
        if resource is None:
            return {"type": "Nothing", "id": "-"}, {}
        if resource.kind == "path":
            steering = SteeringPaths((hop.workspace, *self._roots))
            steers = steering.match(resource.path + ("/" if resource.folder else ""))
            here: dict[str, Any] = {"full": self._spelt(resource.path), "steers": steers}
            if hop.workspace and (resource.path == hop.workspace or resource.path.startswith(hop.workspace + "/")):
                here["own"] = self._spelt(resource.path[len(hop.workspace) :] or "/")
            return {"type": "Path", "id": "it"}, here
        if resource.kind == "host":
            name, _, port = resource.path.rpartition(":")
            return {"type": "Host", "id": "it"}, {"name": name, "port": int(port)}
        if resource.kind == "secret":
            return {"type": "Secret", "id": "it"}, {"name": resource.path}
        if resource.kind == "connection":
            return {"type": "Named", "id": "it"}, {"name": resource.path, "opened": True}
        name = resource.authority.replace("%2F", "/")
        return {"type": "Named", "id": "it"}, {"name": name, "opened": not resource.path, "thing": resource.id}

    def _spelt(self, path: str) -> dict[str, Any]:
        parts = path.split("/")[1:] if path != "/" else []
        out: dict[str, Any] = {"text": path, "depth": len(parts)}
        for name in self._spellings:
            kind, length, place = re.fullmatch(r"([htw])(\d+)(?:_(\d+))?", name).groups()  # pyright: ignore[reportOptionalMemberAccess]
            count = int(length)
            start = 0 if kind == "h" else len(parts) - count if kind == "t" else int(place)
            if 0 <= start <= len(parts) - count:
                out[name] = "".join(f"/{part}" for part in parts[start : start + count])
        return out


def plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int | float)


def address_of(remote: str) -> str:
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
