"""On whose account it stands what goes out."""

from __future__ import annotations

from superagent.core.invocation import Call, Invocation
from superagent.core.mounts import stranger
from superagent.runtime.net.journal import Whose
from tests.core.operations import person


def test_what_goes_out_for_a_stranger_stands_in_the_installations_records_and_for_others_in_their_own() -> None:
    call = Call("signin.provider", {})
    assert Whose.of(Invocation("01", call, stranger("10.0.0.1"), "http", 0.0)).tenant == "system"
    assert Whose.of(Invocation("01", call, person(), "http", 0.0)).tenant == "default"
    assert Whose.of(None).tenant == "system"
