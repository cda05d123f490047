"""Floor 0 · The words of the pages, in Chinese and English."""
