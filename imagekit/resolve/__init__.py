"""From an image to a plan: the only part that reads the world."""
