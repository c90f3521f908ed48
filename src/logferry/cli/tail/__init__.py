"""`logferry tail`: new records as they are stored."""
