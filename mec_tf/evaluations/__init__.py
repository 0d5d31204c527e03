"""Evaluation protocols: kNN, linear, logistic, fine-tuning, transfer."""
