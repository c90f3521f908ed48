"""The processes of an execution environment: runtime, extensions, and the lines that they print."""
