"""From files to batches of uint8 views: everything the host does."""
