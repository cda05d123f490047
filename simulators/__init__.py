"""The outside world: piles, stations, cars and people, with their physics and their habits."""
