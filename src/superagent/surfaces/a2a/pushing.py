"""Pushing: configurations of push notifications are hooks of jobs, made and removed by operations like all else."""

from __future__ import annotations

from typing import Any

import msgspec
from a2a.server.context import ServerCallContext
from a2a.types.a2a_pb2 import AuthenticationInfo, ListTaskPushNotificationConfigsResponse, TaskPushNotificationConfig
from a2a.utils.constants import VERSION_HEADER
from a2a.utils.errors import InvalidParamsError, PushNotificationNotSupportedError

from superagent.core.invocation import Call, Status
from superagent.core.kernel import Kernel
from superagent.core.problems import NeedsApproval, NotFound
from superagent.surfaces.a2a.callers import CHANNEL, Caller
from superagent.surfaces.a2a.telling import Refused, done

_DEFAULT = "hook"


class Pushing:
    """Have addresses told of tasks, for callers."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def create(
        self, caller: Caller, id: str, asked: TaskPushNotificationConfig, shape: str
    ) -> TaskPushNotificationConfig:
        """Make one, or change the one of that name. Raises `Refused`."""
        name = asked.id or _DEFAULT
        input: dict[str, Any] = {"id": id, "name": name, "url": asked.url, "shape": shape}
        if asked.token:
            input["token"] = asked.token
        if asked.authentication.credentials:
            input |= {"scheme": asked.authentication.scheme, "credentials": asked.authentication.credentials}
        try:
            await self._run(caller, "jobs.hooks.create", input)
        except Refused as refused:
            if isinstance(refused.problem, NotFound):  # not of the task: that was looked for before
                told = {"hint": "a grant on `jobs.hooks.create` names the hosts", "invocation": refused.invocation}
                raise InvalidParamsError("this address may not be told", told) from None
            raise
        return _config(id, name, asked.url, asked.authentication.scheme)

    async def get(self, caller: Caller, id: str, name: str) -> TaskPushNotificationConfig:
        """Give one. Raises `NotFound`."""
        for one in (await self.listed(caller, id)).configs:
            if one.id == name:
                return one
        raise NotFound(f"this task has no push notification configuration `{name[:100]}`")

    async def listed(self, caller: Caller, id: str) -> ListTaskPushNotificationConfigsResponse:
        """Give those of a task. What is shown to the address stays hidden."""
        found = await self._run(caller, "jobs.hooks.list", {"id": id})
        configs = [_config(id, one["id"], one["url"]) for one in found["hooks"]]
        return ListTaskPushNotificationConfigsResponse(configs=configs)

    async def delete(self, caller: Caller, id: str, name: str) -> None:
        """Remove one; removing what is not there does nothing."""
        await self._run(caller, "jobs.hooks.delete", {"id": id, "name": name})

    async def _run(self, caller: Caller, operation: str, input: dict[str, Any]) -> Any:
        outcome = await self._kernel.run(Call(operation, input), caller.principal, CHANNEL, trace=caller.trace)
        if isinstance(outcome.problem, NotFound) and not self._may(caller, operation):
            raise PushNotificationNotSupportedError("your key may have no address told", {"operation": operation})
        if outcome.status is Status.WAITING:
            waits = NeedsApproval(
                "a person has to approve first that this address is told",
                hint=f"make it again once `{outcome.invocation}` is approved",
            )
            raise Refused(waits, outcome.invocation)
        return msgspec.json.decode(done(outcome).output)

    def _may(self, caller: Caller, operation: str) -> bool:
        found = self._kernel.find(operation)
        return found is not None and self._kernel.policy_of(caller.principal).may_try(caller.principal, found)


def shape_of(context: ServerCallContext) -> str:
    """Give the shape of what a client of this version expects to be told."""
    headers = context.state.get("headers", {})
    return "a2a" if str(headers.get(VERSION_HEADER.lower(), "")).startswith("1") else "a2a-0.3"


def _config(id: str, name: str, url: str, scheme: str = "") -> TaskPushNotificationConfig:
    config = TaskPushNotificationConfig(id=name, task_id=id, url=url)
    if scheme:
        config.authentication.CopyFrom(AuthenticationInfo(scheme=scheme))
    return config
