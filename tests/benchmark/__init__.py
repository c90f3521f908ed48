"""The benchmark: what logferry costs a function, beside what the same would cost made otherwise.

Run it from this folder's parent: `cd tests && ../.venv/bin/python -m benchmark` (`--help` names the options). It prints
one table, each figure with its target and whether it is met.

Rules, all of them learnt by measuring wrongly first:
- ratios inside one run, never milliseconds of two runs: a neighbour's load moves absolute times by half;
- what is compared is taken in turns, at least nine times, and shown as medians with the tenth and ninetieth percentile;
- the machine's own noise is shown: the bare interpreter against itself;
- environments are made from nothing: a caller's PYTHONDONTWRITEBYTECODE or SSL_CERT_FILE would change start-up by tens
  of milliseconds;
- everything on the other side of the wire is written by hand here, in other processes than the one measured.

Not to be seen on one machine: real Lambda, real S3 and its round trips, and whether the init phase is throttled.
"""
