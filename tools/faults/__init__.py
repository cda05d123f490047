"""The fault matrix: real processes are killed, stopped, cut off and lied to, and what they acknowledged is counted.

`python -m tools.faults [--row N] [--times N] [--short] [--seed S]`. Each row prints its figures, its seed and the time
to recover; the last line is JSON. A simulator outside the killed processes appends each acknowledgement to a synced
file, and at the end that file is compared with the store.
"""
