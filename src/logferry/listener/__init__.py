"""A batch in, 200 out, and only after the journal has stored it."""
