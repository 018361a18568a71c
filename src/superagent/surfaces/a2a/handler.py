"""The handler: what the SDK's bindings ask becomes calls of the line, and invocations become tasks.

It decides nothing and stores nothing. A message is a call in the background, so whoever sent it may leave, and what
waits holds no worker; a task is a view of that call.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    Role,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import TaskNotCancelableError, UnsupportedOperationError
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import validate_history_length
from msgspec.structs import replace

from superagent.core.invocation import Call, Invocation, Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.problems import Conflict, InvalidInput, Problem
from superagent.surfaces.a2a.asking import MESSAGE, answers_of, call_of
from superagent.surfaces.a2a.callers import CHANNEL, Caller
from superagent.surfaces.a2a.cards import Cards
from superagent.surfaces.a2a.looking import Looking, of_outcome
from superagent.surfaces.a2a.pushing import Pushing, shape_of
from superagent.surfaces.a2a.telling import Refused, Telling, caller_of, done
from superagent.surfaces.a2a.views import OPEN, View, task_of

_CONTEXT = re.compile(r"[\x21-\x7e]{1,200}")


class Tasks(RequestHandler):
    """Answer for one installation."""

    def __init__(self, kernel: Kernel, looking: Looking, cards: Cards) -> None:
        self._kernel = kernel
        self._looking = looking
        self._cards = cards
        self._pushing = Pushing(kernel)
        self._telling = Telling(kernel)

    # ---- messages

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        """Send a message; unless its sender wants to go on at once, wait until it is over or a person is asked."""
        return await self._telling.one(context, "a2a.SendMessage", self._send(params, context))

    async def _send(self, params: SendMessageRequest, context: ServerCallContext) -> Task:
        validate_history_length(params.configuration)
        caller = caller_of(context)
        view = await self._begun(params, caller, shape_of(context))
        if not (params.configuration.return_immediately or view.over):
            view = await self._looking.ended(caller, view.id)
        return task_of(view, history=params.configuration.history_length)

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Send a message and tell how it goes."""
        async for event in self._telling.stream(context, "a2a.SendStreamingMessage", self._sending(params, context)):
            yield event

    async def _sending(self, params: SendMessageRequest, context: ServerCallContext) -> AsyncGenerator[Event]:
        caller = caller_of(context)
        view = await self._begun(params, caller, shape_of(context))
        async for event in self._looking.follow(caller, view, until_asked=True):
            yield event

    async def _begun(self, params: SendMessageRequest, caller: Caller, shape: str) -> View:
        validate_proto_required_fields(params)
        message = params.message
        if message.role != Role.ROLE_USER:
            raise InvalidInput("what is sent here has the role of the user")
        if message.task_id:
            return await self._again(message, caller)
        if message.context_id and not _CONTEXT.fullmatch(message.context_id):
            raise InvalidInput("a `contextId` has up to 200 visible ASCII characters")
        spoken = message.context_id or self._kernel.hands.clock.new_id()
        try:
            call = call_of(message, params.metadata, caller.said)
        except Problem as problem:
            refused = self._kernel.refused(Call(MESSAGE, {}), caller.principal, CHANNEL, problem, caller.trace)
            return self._unstored(refused, spoken)
        call = replace(call, queued=True, session=spoken)
        invocation = self._kernel.invocation(call, caller.principal, CHANNEL, trace=caller.trace)
        outcome = await self._carried(invocation, params, caller, shape)
        if outcome.status in (Status.QUEUED, Status.WAITING):
            return await self._looking.stored(caller, outcome.invocation)
        return self._unstored(outcome, spoken)

    async def _carried(self, invocation: Invocation, params: SendMessageRequest, caller: Caller, shape: str) -> Outcome:
        """Take a call through the line, with the address that is to be told of it.

        The address comes first: nothing of what happens is to be missed, and if it is refused, nothing happens.
        """
        if not params.configuration.HasField("task_push_notification_config"):
            return await self._kernel.carry(invocation)
        asked = params.configuration.task_push_notification_config
        config = await self._pushing.create(caller, invocation.id, asked, shape)
        outcome = await self._kernel.carry(invocation)
        same = outcome.invocation == invocation.id
        if not same and outcome.status in OPEN:  # it is a call that waited already
            await self._pushing.create(caller, outcome.invocation, asked, shape)
        if not same or outcome.status not in OPEN:
            await self._pushing.delete(caller, invocation.id, config.id)
        return outcome

    async def _again(self, message: Message, caller: Caller) -> View:
        """Give the task that a message goes on with: it answers what the task asks its caller, and approves nothing."""
        self._kernel.beside(caller.principal)
        view = await self._looking.view(caller, message.task_id)
        if message.context_id and message.context_id != view.context:
            raise InvalidInput("this task belongs to another context", hint="leave `contextId` out")
        if view.over:
            raise UnsupportedOperationError("this task is over", {"hint": "send a new message, without `taskId`"})
        if view.status is Status.ASKING:
            asked = Call("jobs.answer", {"id": view.id, "answers": answers_of(message, caller.said)})
            done(await self._kernel.run(asked, caller.principal, CHANNEL, trace=caller.trace))
            return await self._looking.stored(caller, view.id)
        if view.status is not Status.WAITING:
            raise UnsupportedOperationError(
                "this task asks for nothing", {"hint": "wait for its end, or cancel it and send a new message"}
            )
        return view

    def _unstored(self, outcome: Outcome, spoken: str) -> View:
        return of_outcome(outcome, self._kernel.hands.clock.now(), spoken)

    # ---- tasks

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """Give a task."""
        return await self._telling.one(context, "a2a.GetTask", self._get(params, context))

    async def _get(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        validate_proto_required_fields(params)
        validate_history_length(params)
        return task_of(await self._looking.view(caller_of(context), params.id), history=params.history_length)

    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Give a page of the caller's tasks."""
        return await self._telling.one(context, "a2a.ListTasks", self._looking.page(caller_of(context), params))

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Stop a task, by the operation `jobs.cancel`."""
        return await self._telling.one(context, "a2a.CancelTask", self._cancel(params, context))

    async def _cancel(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        validate_proto_required_fields(params)
        caller = caller_of(context)
        view = await self._looking.view(caller, params.id)
        if view.over:
            raise TaskNotCancelableError("this task is over")
        call = Call("jobs.cancel", {"id": params.id})
        outcome = await self._kernel.run(call, caller.principal, CHANNEL, trace=caller.trace)
        if isinstance(outcome.problem, Conflict):  # it ended in between
            raise TaskNotCancelableError(outcome.problem.detail)
        if outcome.problem is not None:
            raise Refused(outcome.problem, outcome.invocation)
        return task_of(await self._looking.stored(caller, params.id))

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Give a task as it is now and tell how it goes on."""
        async for event in self._telling.stream(context, "a2a.SubscribeToTask", self._subscribed(params, context)):
            yield event

    async def _subscribed(self, params: SubscribeToTaskRequest, context: ServerCallContext) -> AsyncGenerator[Event]:
        validate_proto_required_fields(params)
        caller = caller_of(context)
        view = await self._looking.view(caller, params.id)
        if view.over:
            raise UnsupportedOperationError("this task is over", {"hint": "get it instead"})
        async for event in self._looking.follow(caller, view, until_asked=False):
            yield event

    # ---- cards

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """Give the card with what the caller may use."""
        return await self._telling.one(context, "a2a.GetExtendedAgentCard", self._extended(context))

    async def _extended(self, context: ServerCallContext) -> AgentCard:
        caller = caller_of(context)
        policy = self._kernel.policy_of(caller.principal)
        return self._cards.extended(caller.origin, self._kernel.registry.visible_to(caller.principal, policy))

    # ---- push notifications

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Have an address told of a task."""
        return await self._telling.one(
            context, "a2a.CreateTaskPushNotificationConfig", self._configured(params, context)
        )

    async def _configured(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        validate_proto_required_fields(params)
        caller, view = await self._own(params.task_id, context)
        return await self._pushing.create(caller, view.id, params, shape_of(context))

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Give one configuration of a task."""

        async def get() -> TaskPushNotificationConfig:
            caller, view = await self._own(params.task_id, context)
            return await self._pushing.get(caller, view.id, params.id)

        return await self._telling.one(context, "a2a.GetTaskPushNotificationConfig", get())

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """Give the configurations of a task."""

        async def get() -> ListTaskPushNotificationConfigsResponse:
            caller, view = await self._own(params.task_id, context)
            return await self._pushing.listed(caller, view.id)

        return await self._telling.one(context, "a2a.ListTaskPushNotificationConfigs", get())

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Have an address told no more."""

        async def delete() -> None:
            caller, view = await self._own(params.task_id, context)
            await self._pushing.delete(caller, view.id, params.id)

        await self._telling.one(context, "a2a.DeleteTaskPushNotificationConfig", delete())

    async def _own(self, id: str, context: ServerCallContext) -> tuple[Caller, View]:
        """Give the caller and the task. Raises `NotFound` for one that is not stored, or not theirs to see."""
        caller = caller_of(context)
        return caller, await self._looking.stored(caller, id)
