"""Training, shared by pretraining and classifiers."""
