"""`logferry verify`: every stored object is read back and checked for completeness."""
