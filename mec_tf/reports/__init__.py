"""From a config of a report to its pictures."""
