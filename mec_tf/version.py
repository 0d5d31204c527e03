"""The version of `mec_tf`; `setup.cfg` and every export read it here."""

__version__ = "0.1.0"
