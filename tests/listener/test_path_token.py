"""The path token: after the platform has used the subscribed path, other paths are refused."""

from __future__ import annotations

from logferry.listener.path_token import PathToken


def test_path_token_allows_any_path_until_the_subscribed_path_is_used() -> None:
    """AWS's emulator of Managed Instances drops the path, so it cannot be required from the start."""
    token = PathToken("/secret")
    assert token.is_allowed("/")
    assert token.is_allowed("/anything")
    assert token.is_allowed("/secret")
    assert not token.is_allowed("/")
    assert not token.is_allowed("/secret/")
    assert not token.is_allowed("")
    assert token.is_allowed("/secret")
