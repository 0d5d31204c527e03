"""Where a run computes: devices, replicas, workers."""
