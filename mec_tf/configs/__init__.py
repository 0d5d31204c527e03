"""Settings as frozen dataclasses: one field per flag, said once."""

from mec_tf.configs.evaluate import EvaluateConfig as EvaluateConfig
from mec_tf.configs.export import ExportConfig as ExportConfig
from mec_tf.configs.pretrain import PretrainConfig as PretrainConfig
from mec_tf.configs.report import ReportConfig as ReportConfig
