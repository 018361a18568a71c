"""Random policies and requests: small vocabularies, so that grants and calls often speak of the same things."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from superagent.core.grants import Grant
from superagent.core.operation import Operation
from superagent.core.policy import Facts, Policy
from superagent.core.principal import Kind, Principal
from superagent.core.resources import Effect, Protected, Resource, Risk
from superagent.core.rules import Origin
from tests.core.operations import OPERATIONS

# stars, quotes and composed and decomposed letters are ordinary characters of names
PARTS = ["srv", "app", "a", "b.txt", "b*", "log-1", "caf\u00e9", "cafe\u0301", "x[1]", 'q"', "A", "50%", "-"]
STARRED = ["*", "*", "a*", "*.txt", "l*g*", "*a", "caf*"]
HOSTS = [
    "example.org",
    "api.example.org",
    "a.b.example.org",
    "evil-example.org",
    "10.1.2.3",
    "[2001:db8::1]",
    "localhost",
]
HOST_PATTERNS = [
    "*",
    "*.example.org",
    "*example.org",
    "example.org",
    "API.example.org",
    "10.1.2.3",
    "[2001:DB8:0::1]",
    "a*.org",
]
PORTS = [80, 443, 8443]
NAMES = ["orders-db", "orders-db-2", "prod", "caf\u00e9", "eu/db"]
NAME_PATTERNS = [
    "*", "orders-db", "orders-*", "*db*", "prod", "secret:*", "secret:orders-*", "secret:prod", "sql://orders-db/*",
    "sql://orders-*/public.*", "sql://prod/public.orders", "sql://eu%2Fdb/*.orders", "*://*/hidden.*", "sql://*",
]  # fmt: skip
TABLES = ["public.orders", "public.secret", "hidden.orders", ""]
SUBJECTS = ["*", "role:owner", "role:agent", "group:ops", "user:ann", "agent:bot", "key:k1", "anonymous:anonymous"]
ADDRESSES = ["", "10.1.2.3", "10.9.0.1", "192.0.2.7", "2001:db8::7", "::ffff:10.1.2.3", "unix"]
NETWORKS = ["10.1.0.0/16", "10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "10.1.2.3"]
HOURS = [
    "08:00-18:00",
    "22:00-06:00",
    "mon-fri 08:00-18:00",
    "sat 00:00-24:00",
    "fri-mon 20:00-08:00",
    "sun 23:00-01:00",
]
ARGS: dict[str, list[Any]] = {
    "mode": ["text", "binary", "te*xt", "", "t\next"],
    "count": [0, 1, 5, 5.0, 2.5, True],
    "force": [True, False, None],
    "tags": [["x"], [], {"x": 1}, "x"],
    "from": ["here", None, 1],
}
WANTED: dict[str, list[Any]] = {
    "mode": ["text", "t*", "*", "te*xt", ["binary", "text"], ""],
    "count": [0, 5, 2.5, [1, 5], True],
    "force": [True, False, None, [True, None]],
    "tags": ["x", ["x", "y"]],
    "from": ["here", "h*", None],
    "absent": ["x"],
}
WORKSPACES = ["", "/data/workspaces/default/bot", "/data/workspaces/default/b*"]
ROOTS = ("/srv", "/home/b*")
PROTECTED = Protected(("/data", "/link", "/data/workspaces/default/bot/.venv"), "/data/workspaces", "default")


@dataclass(frozen=True)
class Request:
    principal: Principal
    operation: Operation
    resources: tuple[Resource, ...]
    facts: Facts


class Draw:
    """Everything random, from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def some(self, values: list[Any], most: int = 2) -> list[Any]:
        return self.random.sample(values, self.random.randint(1, min(most, len(values))))

    def policy(self) -> Policy:
        grants = [self.grant(at) for at in range(self.random.randint(1, 12))]
        if self.chance(0.7):  # else nearly everything is refused because nothing speaks of it
            grants.append(self.broad())
        roots = ROOTS[: self.random.randint(0, 2)]
        return Policy(grants, 7, PROTECTED if self.chance(0.4) else Protected(), roots, instance=self.chance(0.2))

    def grant(self, at: int) -> Grant:
        draw = self.random
        effect = draw.choices(["allow", "ask", "deny"], [6, 3, 1.2])[0]
        out: dict[str, Any] = {
            "id": f"g{at}",
            "effect": effect,
            "subject": draw.choices(SUBJECTS, [8, 3, 3, 1, 2, 2, 1, 1])[0],
        }
        patterns = ["*", "*", "*", "notes.*", "notes.*", "db.*", "no.such", *OPERATIONS]
        out["operations"] = self.some(patterns, 3)
        if self.chance(0.3):
            out["effects"] = self.some(["READ", "CHANGE", "DESTROY"], 3)
        if self.chance(0.15):
            out["undoable"] = self.chance(0.5)
        if self.chance(0.15):
            out["origin"] = self.some(["human", "agent", "workflow"])
        out["where"] = self.where()
        out["when"] = self.when()
        if self.chance(0.25):
            out["max_risk"] = draw.choice(["LOW", "MEDIUM", "HIGH", "CRITICAL"])
        if self.chance(0.15):
            out["isolation"] = draw.choice(["none", "landlock", "native", "container", "vm"])
        if effect != "allow" and self.chance(0.4):
            by = self.some(["role:owner", "user:ann"]) if self.chance(0.3) else []
            out["require"] = {"approvals": draw.randint(1, 3), "by": by}
        grant = Grant.model_validate(out)
        return grant.of_instance() if self.chance(0.1) else grant

    def broad(self) -> Grant:
        """Give a permit that reaches far and demands something."""
        demand: dict[str, Any] = self.random.choice(
            [
                {"effect": "ask", "require": {"approvals": self.random.randint(1, 3)}},
                {"effect": "ask", "when": {"mfa_max_age_s": 60}},
                {"effect": "allow", "when": {"mfa_max_age_s": 60}},
                {"effect": "allow", "max_risk": "HIGH"},
                {"effect": "allow", "isolation": "landlock"},
            ]
        )
        return Grant.model_validate({"id": "broad", "subject": "*", "operations": ["*"], **demand})

    def where(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if self.chance(0.4):
            out["paths"] = [self.path_pattern() for _ in range(self.random.randint(1, 3))]
        if self.chance(0.15):
            ports = ["", ":*", ":443", ":80"]
            out["hosts"] = [one + self.random.choice(ports) for one in self.some(HOST_PATTERNS)]
        if self.chance(0.15):
            out["connections"] = self.some(NAME_PATTERNS)
        if self.chance(0.2):
            out["args"] = {name: self.random.choice(WANTED[name]) for name in self.some([*WANTED], 2)}
        return out

    def when(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if self.chance(0.15):
            out["hours"] = self.random.choice(HOURS)
        if self.chance(0.15):
            out["until"] = self.random.choice([1_000_000_000, 2_000_000_000, 3_000_000_000])
        if self.chance(0.15):
            out["cidr"] = self.some(NETWORKS)
        if self.chance(0.2):
            out["mfa_max_age_s"] = self.random.choice([1, 60, 900])
        return out

    def path_pattern(self) -> str:
        draw = self.random
        if self.chance(0.08):
            return "{steering}"
        head = draw.choices(["", "{workspace}", "{roots}", "/srv", "/data/workspaces"], [4, 3, 2, 4, 1])[0]
        parts: list[str] = []
        for _ in range(draw.randint(0, 4)):
            kinds = [PARTS, STARRED, ["**"]]
            part = draw.choice(draw.choices(kinds, [5, 2, 3 if parts.count("**") < 2 else 0])[0])
            parts.append(part.replace("[", "*"))
        return (head + "".join(f"/{part}" for part in parts)) or "/"

    def path(self, workspace: str) -> str:
        draw = self.random
        heads = [
            "",
            "/srv",
            "/srv",
            "/home/b*",
            "/data/workspaces/default/bot",
            "/data/state",
            "/link",
            "/data/workspaces/other/x",
        ]
        head = draw.choice([*heads, workspace, workspace])
        names = [*PARTS, ".git", "hooks", ".vscode"]
        return (head + "".join(f"/{draw.choice(names)}" for _ in range(draw.randint(0, 4)))) or "/"

    def principal(self) -> Principal:
        hop: Principal | None = None
        for _ in range(self.random.choices([1, 2, 3], [6, 3, 1])[0]):
            kind: Kind = self.random.choices(["human", "agent", "anonymous"], [4, 5, 0.5])[0]  # pyright: ignore[reportAssignmentType]
            name = {"human": "ann", "agent": "bot", "anonymous": "anonymous"}[kind] if self.chance(0.8) else "other"
            roles = tuple(self.some(["owner", "agent"])) if self.chance(0.7) else ()
            groups = ("ops",) if self.chance(0.3) else ()
            key = "k1" if self.chance(0.3) else ""
            workspace = self.random.choice(WORKSPACES)
            hop = Principal(name, kind, "default", roles, hop, workspace, key, groups=groups)
        assert hop is not None
        return hop

    def request(self) -> Request:
        draw = self.random
        principal, operation = self.principal(), draw.choice([*OPERATIONS.values()])
        resources = tuple(
            self.resource(operation, principal.workspace) for _ in range(draw.choices([0, 1, 2], [2, 6, 2])[0])
        )
        origin: Origin = draw.choice(["human", "agent", "workflow"])
        facts = Facts(
            origin,
            Risk(draw.randint(operation.risk, Risk.CRITICAL) if self.chance(0.2) else operation.risk),
            now=draw.uniform(-1e9, 4e9),
            remote=draw.choice(ADDRESSES),
            second_factor_age_s=draw.choice([None, None, 0.0, 0.5, 1.0, 59.9, 60.1, 900.0]),
            isolation=draw.randint(0, 4),
            approvals=draw.choice([0, 0, 0, 0, 1, 2, 3]),
            args={self.python_name(name): draw.choice(ARGS[name]) for name in ARGS if self.chance(0.6)},
        )
        return Request(principal, operation, resources, facts)

    def resource(self, operation: Operation, workspace: str) -> Resource:
        draw = self.random
        effect = Effect(draw.randint(0, 2)) if self.chance(0.2) else operation.effect
        kind = draw.choices(["path", "host", "connection", "secret", "sql"], [8, 2, 1, 1, 1])[0]
        if kind == "path":
            return Resource("path", "local", self.path(workspace), effect)
        if kind == "host":
            return Resource("host", "-", f"{draw.choice(HOSTS)}:{draw.choice(PORTS)}", effect)
        if kind in ("connection", "secret"):
            return Resource(kind, "-", draw.choice(NAMES), effect)
        return Resource("sql", draw.choice(NAMES).replace("/", "%2F"), draw.choice(TABLES), effect)

    def python_name(self, name: str) -> str:
        return "from_" if name == "from" else name
