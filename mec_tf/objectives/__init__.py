"""The losses: one short file each, stateless, on TensorFlow alone."""
