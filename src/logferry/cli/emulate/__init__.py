"""`logferry emulate`: a function with the extension in a local Lambda environment."""
