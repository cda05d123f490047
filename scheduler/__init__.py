"""Owns promises: turns to residents, by rules of committees. The command line checks rules; no process runs it yet."""
