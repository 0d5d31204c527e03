"""What pretraining and the classifiers share: schedule, checkpoint, workdir."""
