"""The command line: never imported by the extension's processes."""
