"""Paths, and atomic writing of files and folders."""
