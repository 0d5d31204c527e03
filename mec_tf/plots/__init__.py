"""Plots of a run: curves and views."""
