"""The builder of the Lambda layer: one command turns a checkout into the `/opt` tree and its zip, without Docker.

The tree brings its own interpreter, C library, dynamic loader and libraries, so that of its host it uses the kernel
alone: the same bytes run beside every runtime and in every container image. Nothing in the extension's processes
imports this package, and it is not in the layer.
"""
