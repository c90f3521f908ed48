"""`logferry cost`: the monthly cost of each flush policy for one function."""
