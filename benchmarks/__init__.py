"""What `make bench` measures: real processes, medians of several runs, one line of JSON at the end."""
