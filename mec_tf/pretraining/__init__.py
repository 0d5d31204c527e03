"""Pretraining: from a `PretrainConfig` to a run and its encoder."""
