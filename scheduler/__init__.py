"""Will own promises: turns to residents, duties of staff, rules of committees. Nothing is here yet."""
