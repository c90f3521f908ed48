"""`logferry check`: settings, credentials, network and permissions, verified with a canary object."""
