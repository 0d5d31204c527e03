"""Configs: frozen dataclasses with one field per flag."""

from mec_tf.config.evaluate import EvaluateConfig as EvaluateConfig
from mec_tf.config.export import ExportConfig as ExportConfig
from mec_tf.config.pretrain import PretrainConfig as PretrainConfig
from mec_tf.config.report import ReportConfig as ReportConfig
