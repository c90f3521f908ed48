"""The command line. The extension's processes never import it."""
