"""`logferry compact`: proven hours of small objects become one Parquet file each."""
