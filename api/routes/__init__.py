"""Floor 4 · The resources of the API, one file each."""
