"""Distribution: strategies, replicas, clusters of workers."""
