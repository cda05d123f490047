"""The composition root: the command line and the wiring; the only package that knows all the others."""
