"""LARS, SGD with coupled decay, and the per-step schedules."""
