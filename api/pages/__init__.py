"""Floor 4 · The pages: made on the server from the same board as the API, kept alive by a little script."""
