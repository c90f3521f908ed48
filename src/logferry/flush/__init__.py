"""When records leave the execution environment, and what happens if they cannot."""
