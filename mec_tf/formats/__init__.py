"""Encoders on disk, in our format and in those of others."""
