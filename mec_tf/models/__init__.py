"""Backbones, heads, the EMA target and the Siamese model."""
