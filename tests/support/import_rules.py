"""Import rules of the extension, shared by the architecture test and the map of the source."""

from __future__ import annotations

MAY_IMPORT: dict[str, set[str]] = {
    "records": {"errors"},
    "journal": {"records", "errors"},
    "http_client": {"errors"},
    "aws": {"http_client", "errors"},
    "references": {"aws", "http_client", "errors"},
    "sinks": {"aws", "http_client", "records", "errors", "log"},
    "listener": {"journal", "records", "errors"},
    "flush": {"journal", "records", "sinks", "deadline", "errors", "log", "loop_clock"},
    "settings": {
        *("flush.policy", "records.object_key", "records.zstd_packing", "destination", "errors"),
        *("aws.variable_names", "config_file", "options", "references.grammar", "setting"),
        *("settings_table", "settings_validation"),
    },
    "settings_table": {"flush.policy", "records.object_key", "destination", "setting", "values"},
    "options": {"aws", "destination", "records", "setting", "settings_validation", "values"},
    "settings_validation": {"flush.policy", "records.object_key", "destination"},
    "instrumentation": {"listener", "records", "errors"},
    "shipper": {
        *("flush", "instrumentation", "journal", "listener", "records", "references", "settings", "sinks"),
        *("deadline", "destination", "errors", "ipc", "log", "loop_clock"),
    },
    "config_file": {"toml_settings", "values"},
    "supervisor": {"config_file", "ipc", "values", "shipper.main"},
}
"""Import rules of the extension: each package may import itself and these. All other modules import nothing of ours."""
