"""Packages: what setup.cfg cannot say is that `flags/` is one, too."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["mec_tf", "mec_tf.*"]), "mec_tf.flags"],
    package_dir={"mec_tf.flags": "flags"},
    package_data={"mec_tf": ["py.typed"], "mec_tf.flags": ["*.cfg"]},
)
