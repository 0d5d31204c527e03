"""Protocols that score a frozen encoder."""
