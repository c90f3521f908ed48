"""Interpretation of batches and the stored format. Pure: no clock, no disk, no network."""
