"""From a config of an export to its folder."""
