"""Exporting: writes the encoder of an export config."""
