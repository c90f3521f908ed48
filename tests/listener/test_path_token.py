"""Who may deliver: once the platform has used the subscribed path, nobody who does not know it."""

from __future__ import annotations

from logferry.listener.path_token import PathToken


def test_until_the_path_is_used_any_will_do_and_then_no_other() -> None:
    """AWS's emulator of Managed Instances drops the path, so it cannot be asked for from the start."""
    door = PathToken("/secret")
    assert door.is_allowed("/")
    assert door.is_allowed("/anything")
    assert door.is_allowed("/secret")
    assert not door.is_allowed("/")
    assert not door.is_allowed("/secret/")
    assert not door.is_allowed("")
    assert door.is_allowed("/secret")
