"""Pretraining: a config in, a run and its encoder out."""
