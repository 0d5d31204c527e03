"""Photometric augmentation in batches, and the presets of views."""
