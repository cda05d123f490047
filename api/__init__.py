"""Shows what is free and how old that is: HTTP, event streams and pages over the states on the bus."""
