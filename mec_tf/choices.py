"""The values that settings may take by name, without importing TensorFlow.

Each name is listed here once. The modules that implement it import the list, or
have a table whose keys a test compares with it.
"""

from mec_tf.augment.policy import PRESETS

VIEWS = PRESETS
INTERPOLATIONS = ("bicubic", "bilinear")

KERAS = "keras:"  # a prefix: any network of keras.applications
_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
BACKBONES = (
    *_RESNETS,
    *(f"{name}_cifar" for name in _RESNETS),
    "resnet50w2",
    "resnet_tiny",
)
NETWORKS = ("online", "target")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

OBJECTIVES = ("mec",)
MEC_FORMS = ("auto", "batch", "feature")
MEC_SERIES = ("taylor", "chebyshev")
EMBEDDING_NORMS = ("l2", "batch")
OPTIMIZERS = ("sgd", "lars")

JIT = ("auto", "on", "off")
STRATEGIES_OF_ONE_MACHINE = ("auto", "one_device", "mirrored")
STRATEGIES = (*STRATEGIES_OF_ONE_MACHINE, "multi_worker")

CLASSIFIER_PROTOCOLS = ("linear", "logistic", "finetune")
# With the module of `mec_tf.evaluations` that declares each as its `PROTOCOL`.
PROTOCOL_MODULES = {
    "knn": "knn",
    "linear": "linear",
    "logistic": "logistic",
    "finetune": "finetune",
    "transfer": "transfer",
    "features": "feature_export",
}
PROTOCOLS = tuple(PROTOCOL_MODULES)
SUITES = ("paper",)
METRICS = ("top1", "mean_per_class", "map11")
KNN_METRICS = ("cosine", "euclidean")
TEST_RESIZES = ("short", "square")
FEATURE_SUFFIXES = (".npy", ".npz", ".parquet")

FORMATS_OF_WEIGHTS = ("torchvision", "detectron2")
FORMATS = ("saved_model", "keras", "onnx", *FORMATS_OF_WEIGHTS)
