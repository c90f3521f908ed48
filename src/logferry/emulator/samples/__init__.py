"""Functions to run in the emulator, one for each kind of runtime; each reads from its event what to do."""
