"""The Lambda layer: one command builds the `/opt` tree and its zip, without Docker.

Guarantees:
- The tree contains an interpreter, a C library, a dynamic loader and all libraries. It uses only
  the kernel of its host, so the same bytes run next to every runtime and in every container image.
- The processes of the extension import nothing of this package, and the layer does not contain it.
"""
