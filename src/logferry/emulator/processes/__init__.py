"""The processes of an execution environment, their variables, and the lines that they print."""
