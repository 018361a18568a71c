"""Grants: the language of policy, as people and programs write it."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, PrivateAttr, model_validator

from superagent.core.patterns import HostPattern
from superagent.core.steering import PLACEHOLDER

IsolationLevel = Literal["none", "landlock", "native", "container", "vm"]
ISOLATION: dict[str, int] = {"none": 0, "landlock": 1, "native": 2, "container": 3, "vm": 4}
DAY_MIN, WEEK_MIN = 24 * 60, 7 * 24 * 60

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = f"(?:{'|'.join(_DAYS)})"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = re.compile(rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))? )?(?P<begin>{_TIME})-(?P<end>{_TIME}|24:00)")
_OPERATION = re.compile(r"\*|[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*(?:\.\*)?")
_SUBJECT = re.compile(r"\*|(?:role|group|user|agent|key|service|node|anonymous):[^\s:*]{1,200}")
_PLACEHOLDERS = ("{workspace}", "{roots}", PLACEHOLDER)
_MOST = 1000  # entries of a list in a grant


class Strict(BaseModel):
    """What a border accepts: no unknown fields, no coercion, unchangeable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _hours(text: str) -> str:
    found = _HOURS.fullmatch(text)
    if not found or found["begin"] == found["end"]:
        raise ValueError("hours are `HH:MM-HH:MM` in UTC, optionally after `mon-fri `; the whole day is `00:00-24:00`")
    return text


def _cidr(text: str) -> str:
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped:
        raise ValueError("write the IPv4 network itself: a caller's address is never judged in its IPv6 form")
    return str(network)


def _path(text: str) -> str:
    parts = text.split("/")[1:]
    if text == PLACEHOLDER:
        return text
    if not text.startswith(("/", "{workspace}/", "{roots}/")) and text not in ("{workspace}", "{roots}"):
        raise ValueError("a path pattern begins with `/`, `{workspace}` or `{roots}`, or is `{steering}`")
    if any(char in text for char in "\0?[") or any(one in part for one in _PLACEHOLDERS for part in parts):
        raise ValueError("`*` and `**` are the only wildcards, and a placeholder stands only at the beginning")
    if any(part in (".", "..") or ("**" in part and part != "**") for part in parts) or "" in parts[:-1]:
        raise ValueError("a path pattern has no `.`, `..` or `//`, and `**` stands for whole parts")
    if parts.count("**") > 2 or len(parts) > 64:
        raise ValueError("a path pattern has at most 64 parts and at most two of them are `**`")
    return text if text == "/" else text.removesuffix("/")


def _host(text: str) -> str:
    return HostPattern(text).source


def _operation(text: str) -> str:
    if not _OPERATION.fullmatch(text):
        raise ValueError("an operation pattern is `*`, a name, or a name's beginning and `.*`")
    return text


def _subject(text: str) -> str:
    if text and not _SUBJECT.fullmatch(text):
        raise ValueError("a subject is `*`, `role:…`, `group:…`, `user:…`, `agent:…` or `key:…`")
    return text


Name = Annotated[str, Field(min_length=1, max_length=1024)]
Path = Annotated[Name, AfterValidator(_path)]
Host = Annotated[Name, AfterValidator(_host)]
Subject = Annotated[str, AfterValidator(_subject)]
Cidr = Annotated[str, AfterValidator(_cidr)]
Scalar = Annotated[str, Field(max_length=4096)] | bool | int | FiniteFloat | None
Scalars = Annotated[list[Scalar], Field(min_length=1, max_length=_MOST)]


class Where(Strict):
    """Which resources and inputs: path patterns, `host:port` patterns, connection names, argument values.

    Among `connections`, `secret:NAME` names a secret, and nothing else does: `*` is any connection and no secret. A
    connection's name stands for all that lies in it; `sql://orders-db/public.*` names only some of that (a `/` in the
    connection's name is `%2F` there), and an allow or ask that does so opens the connection as well.
    A grant that names resources covers only those. In paths `*` stays within one part and `**` stands for whole parts,
    so `/srv/**` covers `/srv` and all beneath it; `{steering}` is every path that makes other programs run what it
    says, or that agents take for orders; elsewhere `*` is any text. `args` maps an argument to a value or a
    list of alternatives. Only texts, numbers, booleans and null compare: an argument that is a list or an object is
    compared with nothing, so an allow with a condition on it does not count and a deny strikes. An operation without
    that argument is not spoken of.
    """

    paths: Annotated[list[Path], Field(max_length=_MOST)] = []
    hosts: Annotated[list[Host], Field(max_length=_MOST)] = []
    connections: Annotated[list[Name], Field(max_length=_MOST)] = []
    args: Annotated[dict[str, Scalar | Scalars], Field(max_length=100)] = {}


class When(Strict):
    """In which circumstances: hours (UTC), the caller's network, how fresh the second factor is (seconds).

    `mon-fri 22:00-06:00` names the days on which the hours begin. Of a caller whose address is not known, a network is
    neither in nor out: an allow with `cidr` does not count, a deny strikes. From `until` on the sentence is not there.
    """

    hours: Annotated[str, AfterValidator(_hours)] | None = None
    until: Annotated[int, Field(gt=0, le=2**53, description="epoch seconds")] | None = None
    cidr: Annotated[list[Cidr], Field(max_length=_MOST)] = []
    mfa_max_age_s: Annotated[int, Field(gt=0)] | None = None


class Require(Strict):
    """How many people must approve, and which subjects each must have one of; empty for anybody who may approve."""

    approvals: Annotated[int, Field(ge=1, le=10)] = 1
    by: Annotated[list[Subject], Field(max_length=_MOST)] = []


class Grant(Strict):
    """One sentence of policy: scopes say which calls it speaks of, demands what must then be so (ADR 16).

    Scopes are `subject`, `operations`, `effects`, `undoable`, `where`, `origin`, `when.hours`, `when.until` and
    `when.cidr`; a field left out selects everything. Demands are `max_risk`, `isolation`, `when.mfa_max_age_s` and
    `require`. An allow or
    ask counts when all its demands are met; a deny strikes unless all its demands are met, so without demands always.
    An operation that only reads counts as undoable: there is nothing to take back.
    """

    id: str = ""
    effect: Literal["allow", "ask", "deny"]
    subject: Subject = ""
    operations: Annotated[list[Annotated[str, AfterValidator(_operation)]], Field(min_length=1, max_length=_MOST)]
    effects: Annotated[list[Literal["READ", "CHANGE", "DESTROY"]], Field(max_length=3)] = []
    undoable: bool | None = None
    where: Where = Where()
    origin: Annotated[list[Literal["human", "agent", "workflow"]], Field(max_length=3)] = []
    max_risk: Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"] | None = None
    when: When = When()
    isolation: IsolationLevel | None = None
    require: Require | None = None
    _instance: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _fits(self) -> Grant:
        if self.effect == "allow" and self.require:
            raise ValueError("an allow needs no approval; use the effect `ask`")
        return self

    @property
    def instance(self) -> bool:
        """Tell whether it speaks of the installation's operations instead of the tenant's; no input can say so."""
        return self._instance

    @property
    def frees_people(self) -> bool:
        """Tell whether it may permit a person something; an agent never can more than the person it acts for."""
        return self.effect == "allow" and not self.subject.startswith("agent:")

    def of_instance(self) -> Grant:
        """Give the same grant, speaking of the operations that concern the whole installation."""
        made = self.model_copy()
        made._instance = True
        return made

    def names(self, operation: str) -> bool:
        """Tell whether the grant speaks of this operation."""
        return any(
            pattern in ("*", operation) or (pattern.endswith(".*") and operation.startswith(pattern[:-1]))
            for pattern in self.operations
        )

    @property
    def approvals(self) -> int:
        """Give how many people must approve; 0 for none."""
        return self.require.approvals if self.require else 1 if self.effect == "ask" else 0

    @property
    def approvers(self) -> frozenset[str]:
        """Give the subjects whose approval counts; empty for every person who may decide."""
        return frozenset(self.require.by if self.require else ())


def week_spans(hours: str) -> tuple[tuple[int, int], ...]:
    """Give when `mon-fri 08:00-18:00` holds, as (begin, end) in minutes since Monday 00:00 UTC; the end is left out."""
    found = _HOURS.fullmatch(hours)
    assert found is not None  # the grant was validated
    first = _DAYS.index(found["first"] or "mon")
    last = _DAYS.index(found["last"] or found["first"] or "sun")
    begin, end = (int(text[:2]) * 60 + int(text[3:]) for text in (found["begin"], found["end"]))
    length = (end - begin) % DAY_MIN or DAY_MIN
    spans: list[tuple[int, int]] = []
    for step in range((last - first) % 7 + 1):
        start = ((first + step) % 7) * DAY_MIN + begin
        over = max(0, start + length - WEEK_MIN)
        spans += [(start, start + length - over), (0, over)] if over else [(start, start + length)]
    return tuple(spans)
