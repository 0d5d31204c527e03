"""Keras callbacks: checkpoints, metrics, the progress bar, early stops."""
