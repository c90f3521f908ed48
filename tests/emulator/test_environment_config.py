"""Validation of the configuration."""

from __future__ import annotations

import pytest

from logferry.emulator.environment_config import EnvironmentConfig


def test_the_configuration_rejects_an_empty_function_and_an_ambiguous_extension_name() -> None:
    """A function needs a command, and an extension name must differ from the runtime."""
    with pytest.raises(ValueError, match="argument vector is needed"):
        EnvironmentConfig(function=[])
    with pytest.raises(ValueError, match="cannot begin with 'runtime'"):
        EnvironmentConfig(function=["f"], extensions={"runtime": ["x"]})
