"""Who may deliver: once the platform has used the subscribed path, nobody who does not know it."""

from __future__ import annotations

from logferry.listener.path_token import Door


def test_until_the_path_is_used_any_will_do_and_then_no_other() -> None:
    """AWS's emulator of Managed Instances drops the path, so it cannot be asked for from the start."""
    door = Door("/secret")
    assert door.admits("/")
    assert door.admits("/anything")
    assert door.admits("/secret")
    assert not door.admits("/")
    assert not door.admits("/secret/")
    assert not door.admits("")
    assert door.admits("/secret")
