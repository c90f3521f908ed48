"""The HTTP APIs of Lambda: Extensions, Runtime, Telemetry, and the credentials of SnapStart."""
