"""Reports: plots of runs."""
