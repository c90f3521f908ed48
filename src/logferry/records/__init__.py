"""What the bytes of a batch mean and what is stored. Pure: no clock, no disk, no network."""
