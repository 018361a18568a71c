"""The pages of whoever decides: what waits, one of them as it would happen, and the decision, signed by a passkey."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import quote

from superagent.core.mounts import Visit
from superagent.core.neutral import laid_open
from superagent.core.problems import Problem
from superagent.features.sign_in.html import Page, deciding, form, hidden, text, trouble
from superagent.features.sign_in.own_pages import own, when
from superagent.features.sign_in.pieces import output

APPROVALS = "/sign-in/approvals"
SHOWN_IN_LIST = 3


def shown(text: str) -> str:
    """Give text of others for a page on which people decide: never markup, and nothing in it is unseen."""
    return escape(laid_open(text))


@own
async def approvals(visit: Visit) -> Page:
    """`GET /sign-in/approvals`: what waits; with `id`, one of them."""
    id = visit.query.get("id", "")
    return await _one(visit, id, None) if id else await _all(visit, None)


async def _all(visit: Visit, problem: Problem | None) -> Page:
    waiting: list[dict[str, Any]] = output(await visit.call("approvals.list", {"limit": 200}))["waiting"]
    rows = "".join(
        f'<tr><td><a href="{APPROVALS}?id={quote(one["id"])}">{shown(one["operation"])}</a></td>'
        f"<td>{shown(_touched(one['resources'], SHOWN_IN_LIST))}</td><td>{shown(one['requester'])}</td>"
        f"<td>{when(one['asked_at'])}</td><td>{'asked ahead' if one['ahead'] else ''}</td></tr>"
        for one in waiting
    )
    body = f"<table>{rows}</table>" if rows else "<p>Nothing waits.</p>"
    return Page("What waits for you", trouble(problem) + body, problem.status if problem else 200)


def _touched(resources: list[str], most: int = 1000) -> str:
    more = f" and {len(resources) - most} more" if len(resources) > most else ""
    return ", ".join(resources[:most]) + more or "nothing named"


async def _one(visit: Visit, id: str, problem: Problem | None) -> Page:
    asked: dict[str, Any] = output(await visit.call("approvals.show", {"id": id}))
    behind: list[str] = asked["on_behalf_of"]
    facts = {
        "Operation": asked["operation"],
        "Asked by": " for ".join([asked["requester"], *behind]),
        "Reason given (nobody checked it)": asked["reason"] or "none",
        "Touches": _touched(asked["resources"]),
        "Needs a person, for": asked["why"],
        "Asked ahead": "the call is not made yet; once approved, it can be made once" if asked["ahead"] else "",
        "Had read": asked["untrusted"],
        "Approvals": f"{len(asked['approved_by'])} of {asked['approvals_needed']}",
        "Hash": asked["hash"],
    }
    preview: dict[str, Any] = asked["preview"] or {}
    if asked["inside"]:
        facts["Because of"] = asked["inside"]["operation"]
    body = trouble(problem)
    body += "".join(f"<p>{shown(name)}: <code>{shown(value)}</code></p>" for name, value in facts.items() if value)
    body += f"<h2>What would happen</h2><p>{shown(str(preview.get('summary', 'there is no preview')))}</p>"
    if preview.get("diff"):
        body += f'<pre tabindex="0">{shown(str(preview["diff"]))}</pre>'
    have = output(await visit.call("signin.factors.list", {}))["factors"]
    if any(one["kind"] == "passkey" for one in have):
        body += deciding(id, "approve", "Approve with a passkey", APPROVALS, visit.csrf)
        body += deciding(id, "deny", "Deny with a passkey", APPROVALS, visit.csrf)
    reason = text("reason", "Why (optional)", needed=False)
    for word, label in (("approve", "Approve"), ("deny", "Deny")):
        fields = hidden("id", id) + hidden("decision", word) + reason
        body += form(APPROVALS, fields, f"{label} without a signature", visit.csrf, quiet=True)
    return Page(
        "A call that waits", body + f'<p><a href="{APPROVALS}">Back</a></p>', problem.status if problem else 200
    )


@own
async def decided(visit: Visit) -> Page:
    """`POST /sign-in/approvals`: a decision without a signature."""
    fields = await visit.form()
    given = {name: fields.get(name, "") for name in ("id", "decision", "reason")}
    try:
        output(await visit.call("approvals.decide", given))
    except Problem as problem:
        if problem.slug == "denied":
            return await _one(visit, given["id"], problem)
        if problem.slug in ("conflict", "not-found"):
            return await _all(visit, problem)
        raise
    return Page(to=APPROVALS)


ROUTES = {("GET", "/approvals"): approvals, ("POST", "/approvals"): decided}
