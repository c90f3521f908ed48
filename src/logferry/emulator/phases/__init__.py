"""The Init, Invoke and Shutdown phases of an execution environment."""
