"""The HTTP APIs of Lambda: Extensions, Runtime and Telemetry."""
