"""Floor 0 · Places and days for the simulators to live in."""
