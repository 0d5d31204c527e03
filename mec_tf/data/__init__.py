"""Input: from image files to batches of uint8 views, on the host."""
