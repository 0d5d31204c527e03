"""Backbones, heads, the EMA target and the Siamese model."""

from mec_tf.models.backbones import build_backbone as build_backbone
from mec_tf.models.siamese import SiameseModel as SiameseModel
