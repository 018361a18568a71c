"""The bus: observers hear what happened and can neither stop nor fail the teller."""

from __future__ import annotations

from superagent.core.events import LocalBus


def test_every_observer_hears_every_event_in_order() -> None:
    heard: list[tuple[str, object]] = []
    bus = LocalBus(on_fault=lambda fault: None)
    bus.subscribe(lambda event: heard.append(("a", event)))
    bus.subscribe(lambda event: heard.append(("b", event)))
    bus.publish(1)
    bus.publish(2)
    assert heard == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_an_observer_that_fails_is_reported_and_the_others_still_hear() -> None:
    heard: list[object] = []
    faults: list[BaseException] = []
    bus = LocalBus(faults.append)

    def fail(event: object) -> None:
        raise RuntimeError(f"cannot hear {event}")

    bus.subscribe(fail)
    bus.subscribe(heard.append)
    bus.publish("x")
    assert heard == ["x"]
    assert [str(fault) for fault in faults] == ["cannot hear x"]


def test_an_observer_taken_off_hears_no_more_even_from_within_an_event() -> None:
    heard: list[object] = []
    bus = LocalBus(on_fault=lambda fault: None)

    def once(event: object) -> None:
        heard.append(event)
        stop()

    stop = bus.subscribe(once)
    bus.publish(1)
    bus.publish(2)
    stop()  # a second time changes nothing
    assert heard == [1]
