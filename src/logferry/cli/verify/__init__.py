"""`logferry verify`: completeness of the stored records, from the objects alone."""
