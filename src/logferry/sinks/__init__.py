"""Destinations of objects: `put` stores an object or raises."""
