"""Sample functions for the emulator, one for each kind of runtime. Each follows the keys of its event."""
