"""The Init, Restore, Invoke and Shutdown phases of an execution environment."""
