"""Owns promises: turns to residents, duties of staff, rules of committees."""
