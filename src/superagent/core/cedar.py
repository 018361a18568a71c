"""Cedar: a policy's grants as Cedar text and schema, for analysis outside and as the oracle of our own decisions.

One Cedar request stands for one hop of the principal chain, one resource and one of the four worlds; the context says
what is so in that world. The verdict follows from the four answers, AND-ed over hops and resources (rules.md 6).

Entities: a `Principal` lies in a `Subject` for each name that grants can address. A resource is a `Path`, a `Host`, a
`Named` thing, a `Secret` or `Nothing`. A connection is `Named` by its `name`; so is what lies in one, such as a table,
with its id as `thing`; `opened` is true of a connection and of what stands for it as a whole. Of a path, `full` is the
canonical spelling and `own` the one beneath the hop's workspace, and `steers` is true of what `{steering}` stands for,
seen from the hop's workspace or the tenant's roots; of each spelling, `h2` holds the first two parts (`/srv/app`),
`t2` the last two, `w2_5` the two behind the first five, with `depth` the number of parts. So each fits a Cedar pattern
of as many parts, and `*` cannot cross a slash. An `Input` has a tag for each argument that can be compared (`s:text`,
`n:5`, `b:true`, `z`); `opaque` names the others.
The effect is the one under which the resource is judged, `week_min` minutes since Monday 00:00 UTC, `now` whole seconds
since 1970, `mfa_age_s` rounded up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from superagent.core.grants import ISOLATION, Grant, Scalar, week_spans
from superagent.core.operation import Operation
from superagent.core.patterns import HostPattern, PathPattern, Text, Wild, path_patterns
from superagent.core.policy import Policy
from superagent.core.resources import Protected, Risk
from superagent.core.rules import SECRET, opens
from superagent.core.steering import PLACEHOLDER

DEEPEST = 48
"""How many parts a path may have for patterns with two `**` and stars beside them to be exact."""

_SPELLING = re.compile(r"\b(?:h|t|w[0-9]+_)[0-9]+\b")
Run = tuple[Text | Wild, ...]


@dataclass(frozen=True, slots=True)
class Export:
    """Cedar text: policies, and the schema without which they must not be used (action groups would be unknown)."""

    policies: str
    schema: str


def export(policy: Policy, operations: Iterable[Operation]) -> Export:
    """Write a policy in Cedar, with a schema over these operations; grants that speak of none of them are left out."""
    known = list(operations)
    heard = [grant for grant in policy.grants if any(policy.speaks_of(grant, one) for one in known)]
    sentences = [*(_sentence(grant, policy) for grant in heard), *_closed(policy.protected)]
    text = "\n\n".join(sentences) + "\n"
    return Export(text, _schema(policy, known, sorted(set(_SPELLING.findall(text)))))


def scalar(value: Scalar) -> str:
    """Write an argument's value as the text that tags hold: numbers that are equal are written alike."""
    if value is None:
        return "z"
    if isinstance(value, bool):
        return f"b:{str(value).lower()}"
    if isinstance(value, str):
        return f"s:{value}"
    return f"n:{int(value) if value == int(value) else value!r}"


def _sentence(grant: Grant, policy: Policy) -> str:
    effect = "forbid" if grant.effect == "deny" else "permit"
    actions = "action" if "*" in grant.operations else f"action in [{', '.join(map(_action, grant.operations))}]"
    scopes, demands = [*_scopes(grant, policy)], [*_demands(grant)]
    if effect == "permit":
        conditions = f"when {{ {' && '.join([*scopes, *demands])} }}"
    else:
        conditions = f"when {{ {' && '.join(scopes)} }}" + (f"\nunless {{ {' && '.join(demands)} }}" if demands else "")
    head = f"{effect} (principal in Subject::{_quoted(grant.subject)}, {actions}, resource)"
    return f"@id({_quoted(grant.id)})\n{head}\n{conditions};"


def _scopes(grant: Grant, policy: Policy) -> Iterator[str]:
    scopes = ["instance"] if grant.instance else ["tenant", "instance"] if policy.instance else ["tenant"]
    yield f"action in [{', '.join(_action(f'scope:{scope}') for scope in scopes)}]"
    if grant.effects:
        yield f"{_set(grant.effects)}.contains(context.effect)"
    if grant.undoable is not None:
        yield f"context.undoable == {str(grant.undoable).lower()}"
    if grant.origin:
        yield f"{_set(grant.origin)}.contains(context.origin)"
    if grant.when.hours:
        spans = week_spans(grant.when.hours)
        yield _any(f"context.week_min >= {begin} && context.week_min < {end}" for begin, end in spans)
    if grant.when.until:
        yield f"context.now < {grant.when.until}"
    if grant.when.cidr:
        known = " || ".join(f"context.remote.isInRange(ip({_quoted(one)}))" for one in grant.when.cidr)
        yield f"(if context has remote then {known} else {str(grant.effect == 'deny').lower()})"
    where = grant.where
    if where.paths or where.hosts or where.connections:
        yield _any([*_paths(where.paths, policy.roots), *map(_host, where.hosts), *_named(grant)])
    for name, wanted in where.args.items():
        yield _argument(name, wanted if isinstance(wanted, list) else [wanted], unknown=grant.effect == "deny")


def _demands(grant: Grant) -> Iterator[str]:
    if grant.max_risk:
        yield f"context.risk <= {int(Risk[grant.max_risk])}"
    if grant.isolation:
        yield f"context.isolation >= {ISOLATION[grant.isolation]}"
    if grant.when.mfa_max_age_s:
        yield f"context has mfa_age_s && context.mfa_age_s <= {grant.when.mfa_max_age_s}"
    if grant.approvals:
        yield f"context.approvals >= {grant.approvals}"


def _paths(sources: list[str], roots: tuple[str, ...]) -> Iterator[str]:
    for source in sources:
        if source.startswith("{workspace}"):
            rest = source.removeprefix("{workspace}") or "/"
            fits = (_path("resource.own", one) for one in path_patterns(rest, "", ()))
            yield from (f"(resource is Path && resource has own && {one})" for one in fits)
        elif source == PLACEHOLDER:
            yield "(resource is Path && resource.steers)"
        else:
            fits = (_path("resource.full", one) for one in path_patterns(source, "", roots))
            yield from (f"(resource is Path && {one})" for one in fits)


def _path(spelling: str, pattern: PathPattern) -> str:
    """Say that a path fits: the parts before the first `**`, those behind the last, and those between."""
    first, last = pattern.runs[0], pattern.runs[-1]
    if len(pattern.runs) == 1:
        return f"({spelling}.depth == {len(first)} && {spelling}.text {_is(first)})"
    said = [f"{spelling}.depth >= {sum(map(len, pattern.runs))}"]
    said += [*_spelt(spelling, f"h{len(first)}", first), *_spelt(spelling, f"t{len(last)}", last)]
    for run in filter(None, pattern.runs[1:-1]):
        places = range(len(first), DEEPEST - len(last) - len(run) + 1)
        said.append(
            _any(
                " && ".join(
                    [
                        f"{spelling}.depth >= {place + len(run) + len(last)}",
                        *_spelt(spelling, f"w{len(run)}_{place}", run),
                    ]
                )
                for place in places
            )
        )
    return f"({' && '.join(said)})"


def _spelt(spelling: str, attribute: str, run: Run) -> list[str]:
    return [f"{spelling} has {attribute}", f"{spelling}.{attribute} {_is(run)}"] if run else []


def _is(run: Run) -> str:
    if all(part.literal for part in run):
        return f"== {_quoted('/' + '/'.join(map(_source, run)))}"
    return f'like "{"".join(f"/{_like(part)}" for part in run)}"'


def _host(source: str) -> str:
    host = HostPattern(source)
    port = "" if host.port is None else f" && resource.port == {host.port}"
    return f'(resource is Host && resource.name like "{_like(host.name)}"{port})'


def _named(grant: Grant) -> Iterator[str]:
    for source in grant.where.connections:
        secret = source.startswith(SECRET)
        if secret or "://" not in source:
            kind = "Secret" if secret else "Named"
            yield f'(resource is {kind} && resource.name like "{_like(Text.of(source.removeprefix(SECRET)))}")'
            continue
        yield f'(resource is Named && resource has thing && resource.thing like "{_like(Text.of(source))}")'
        if grant.effect != "deny":  # what may be used in a connection opens it; what may not does not close the rest
            yield f'(resource is Named && resource.opened && resource.name like "{_like(opens(source))}")'


def _argument(name: str, values: list[Scalar], *, unknown: bool) -> str:
    tag = _quoted(name)
    texts = [f'context.input.getTag({tag}) like "s:{_like(Text.of(one))}"' for one in values if isinstance(one, str)]
    others = [f"context.input.getTag({tag}) == {_quoted(scalar(one))}" for one in values if not isinstance(one, str)]
    said = f"context.input.hasTag({tag}) && {_any([*texts, *others])}"
    return f"(({said}) || context.opaque.contains({tag}))" if unknown else f"({said})"


def _closed(protected: Protected) -> Iterator[str]:
    """Say what no grant reaches; a place within the carve-out is closed all the same."""
    carved = f"{protected.workspaces}/"
    inside = [place for place in protected.places if protected.workspaces and place.startswith(carved)]
    tenant = _escaped(protected.tenant) if protected.tenant else "*"
    unless = f'\nunless {{ resource is Path && resource.full.text like "{_escaped(protected.workspaces)}/{tenant}/*" }}'
    for places, but in (
        ([place for place in protected.places if place not in inside], unless if protected.workspaces else ""),
        (inside, ""),
    ):
        if places:
            lies = _any(
                f'resource.full.text == {_quoted(place)} || resource.full.text like "{_escaped(place.rstrip("/"))}/*"'
                for place in places
            )
            yield f"forbid (principal, action, resource)\nwhen {{ resource is Path && {lies} }}{but};"


def _schema(policy: Policy, operations: list[Operation], spellings: list[str]) -> str:
    more = "".join(f", {attribute}?: String" for attribute in spellings)
    patterns = {pattern for grant in policy.grants for pattern in grant.operations} - {"*"}
    groups = [*sorted(patterns - {one.name for one in operations}), "scope:instance", "scope:tenant"]
    lines = [
        "entity Subject;",
        "entity Principal in [Subject];",
        "entity Input tags String;",
        f"type Spelling = {{ text: String, depth: Long{more} }};",
        "entity Path { full: Spelling, own?: Spelling, steers: Bool };",
        "entity Host { name: String, port: Long };",
        "entity Named { name: String, opened: Bool, thing?: String };",
        "entity Secret { name: String };",
        "entity Nothing;",
        "type Call = { effect: String, undoable: Bool, origin: String, risk: Long, isolation: Long, week_min: Long,",
        "  now: Long, remote?: ipaddr, mfa_age_s?: Long, approvals: Long, input: Input, opaque: Set<String> };",
        *(f"action {_quoted(group)};" for group in groups),
    ]
    for one in operations:
        within = [group for group in groups if group.endswith(".*") and one.name.startswith(group[:-1])]
        inside = ", ".join(map(_quoted, [*within, f"scope:{one.scope}"]))
        lines.append(f"action {_quoted(one.name)} in [{inside}] appliesTo")
        lines.append("  { principal: [Principal], resource: [Path, Host, Named, Secret, Nothing], context: Call };")
    return "\n".join(lines) + "\n"


def _action(name: str) -> str:
    return f"Action::{_quoted(name)}"


def _set(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _any(conditions: Iterable[str]) -> str:
    said = " || ".join(f"({one})" for one in conditions)
    return f"({said})" if said else "false"


def _source(part: Text | Wild) -> str:
    assert isinstance(part, Text)  # grants have no other wildcard
    return part.pieces[0]


def _like(part: Text | Wild) -> str:
    assert isinstance(part, Text)
    return "*".join(map(_escaped, part.pieces))


def _escaped(text: str) -> str:
    """Write a text within a pattern: a star of its own is no wildcard."""
    return _quoted(text)[1:-1].replace("*", r"\*")


def _quoted(text: str) -> str:
    plain = "".join(char if char.isprintable() and char not in '"\\' else f"\\u{{{ord(char):x}}}" for char in text)
    return f'"{plain}"'
