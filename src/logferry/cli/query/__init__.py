"""SQL over the stored records with DuckDB: views on fetched files, and the command `logferry query`."""
