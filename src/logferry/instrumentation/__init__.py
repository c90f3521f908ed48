"""Events, metrics and calls of the function itself. Imported only if one of their settings is set."""
