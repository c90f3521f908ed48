"""The benchmark: the cost of logferry for a function, in comparison with other implementations.

Run it in the directory `tests`: `../.venv/bin/python -m benchmark` (`--help` lists the options). It
prints one table with each figure, its target, and whether the target is met.

Design:
- Only ratios within one run are compared, never milliseconds of two runs: the load of a neighbour
  changes absolute times by half.
- Compared samples are taken alternately, at least nine times, and shown as medians with the 10th
  and 90th percentile. Figures that take long have fewer rounds, and the row states their number.
- The noise of the machine is a figure too: the bare interpreter compared with itself.
- Environments are created from nothing. PYTHONDONTWRITEBYTECODE or SSL_CERT_FILE of the caller
  would change a start by tens of milliseconds.
- The other ends of all connections are minimal programs in separate processes.
- No figure inspects which libraries a process has loaded. An extension counts as loaded when its
  processes are idle.

Not measurable on one machine: real Lambda, real S3 and its round trips, and whether the Init phase
is throttled.
"""
