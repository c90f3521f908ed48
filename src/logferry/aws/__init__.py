"""Credentials, signatures, timestamps and partitions for requests to AWS services."""
