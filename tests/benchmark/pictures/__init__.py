"""Pictures of the README, drawn as SVG from measured data.

Guarantees:
- `python -m benchmark.pictures --measure` writes the data (`*.json`), `--draw` writes the pictures
  (`*.svg`). Both are checked in.
- The same data always gives the same bytes. `tests/test_pictures.py` draws and compares.
- Every picture has a title and a description, its text is text, and it refers to no other file.

Design: drawing needs nothing but the standard library. A picture has its own background for light
and dark mode, because GitHub's theme and the preference of the system can differ.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
