"""Floor 3 · One file a step."""
