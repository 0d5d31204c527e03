"""Every flag, grouped by the room that it furnishes. Only the mains import it.

A main declares the groups that it reads (`data()`, `views()`, ...), so that
`--helpfull` shows what the command really uses and nothing else.
"""

import sys
from pathlib import Path

from absl import flags

from mec_tf.files.home import expanded

FLAGS = flags.FLAGS

# What may differ when a run is taken up again: where it computes and finds its
# images, where its encoder goes, how fast, and how often it saves and looks at
# itself; not what it learns. (Not --steps_per_execution: an epoch begun may not
# divide by another.)
WHERE_AND_HOW = (
    "checkpoint_each_epoch",
    "checkpoint_minutes",
    "data_dir",
    "deterministic",
    "export_dir",
    "jit",
    "keep_checkpoints",
    "knn_every_epochs",
    "logical_cpus",
    "strategy",
    "workdir",
)


class _PathParser(flags.ArgumentParser):
    """Of a flag that holds a path, or several."""

    syntactic_help = "a path, or several with commas between"

    def parse(self, argument):
        """The value with homes written out."""
        return expanded(argument)

    def flag_type(self):
        """What the help calls it."""
        return "path"


def define_path(name, default, text):
    """Declares a flag of a path, in which `~` is the user's home."""
    flags.DEFINE(_PathParser(), name, default, text)


def define_paths(name, default, text, **options):
    """Declares a flag of paths that may be given several times."""
    flags.DEFINE_multi(
        _PathParser(),
        flags.ArgumentSerializer(),
        name,
        default,
        text,
        **options,
    )


def _positive(name):
    flags.register_validator(
        name, lambda value: value > 0, message=f"--{name} must be above 0"
    )


def data(image_size):
    """Flags that say which images; `image_size` is the default of theirs."""
    flags.DEFINE_string(
        "dataset",
        "folder",
        "digits (scikit-learn's 1,797 handwritten digits), folder (images under"
        " --data_dir) or tfds:NAME[/CONFIG] (TensorFlow Datasets, prepared"
        " under --data_dir or in its default place).",
    )
    define_path("data_dir", None, "Folder that holds the data.")
    flags.DEFINE_string(
        "train_split", "train", "Subfolder or TFDS split to pretrain on."
    )
    flags.DEFINE_string(
        "test_split", "test", "Subfolder or TFDS split to score on."
    )
    flags.DEFINE_integer(
        "image_size",
        image_size,
        "Side of the images that the network sees, pixels. Scoring: by default"
        " what the (first) export was trained at.",
        lower_bound=1,
    )


def source_options():
    """The flags of the data as `data.sources.load` takes them."""
    return {
        "dataset": FLAGS.dataset,
        "data_dir": FLAGS.data_dir,
        "train_split": FLAGS.train_split,
        "test_split": FLAGS.test_split,
        "seed": FLAGS.seed,
    }


# What a preset of views says and a flag may overrule: a field of
# `augment.policy.View`, and what its numbers mean.
STRENGTHS = {
    "crop_area": "Least,greatest area of the crop, share of the image's.",
    "crop_ratio": "Least,greatest width / height of the crop.",
    "flip": "Probability of a horizontal flip.",
    "jitter": "Probability of the colour jitter.",
    "brightness": "The factor is within 1 -/+ this.",
    "contrast": "The factor is within 1 -/+ this.",
    "saturation": "The factor is within 1 -/+ this.",
    "hue": "The shift is within -/+ this, turns, at most 0.5.",
    "grey": "Probability of greyscale.",
    "blur": "Probability of the blur.",
    "blur_sigma": "Least,greatest standard deviation of the blur, pixels.",
    "solarize": "Probability of solarization.",
    "noise": "Standard deviation of noise, share of full scale.",
}


RANGES = ("crop_area", "crop_ratio", "blur_sigma")


class _PresetOrBare(flags.EnumFlag):
    """`--views=PRESET`, or a bare `--views` that leaves the preset as it is."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.boolean = True  # so that absl takes it without a value

    def parse(self, argument):
        if argument == "true":
            self.present += 1
        else:
            super().parse(argument)


def views(presets, *, bare=False):
    """Flags that say how an image becomes views.

    Args:
        presets: Names of the presets.
        bare: Whether `--views` alone is a wish, too: to see them.
    """
    flags.DEFINE_flag(
        (_PresetOrBare if bare else flags.EnumFlag)(
            "views",
            "byol",
            "Preset of the augmentations; the flags named after them overrule"
            " it with one number for all views, or two for the first and the"
            " second.",
            presets,
        )
    )
    flags.DEFINE_integer(
        "local_crops", 0, "Small views per image (multi-crop).", lower_bound=0
    )
    flags.DEFINE_integer(
        "local_size", 96, "Side of the small views, pixels.", lower_bound=1
    )
    flags.DEFINE_enum(
        "crop_interpolation",
        None,
        ["bicubic", "bilinear"],
        "How crops are resampled, antialiased. Default: the preset's.",
    )
    for name, meaning in STRENGTHS.items():
        flags.DEFINE_list(name, None, f"{meaning} Default: the preset's.")
        if name in RANGES:
            _range(name)
            continue
        flags.register_validator(
            name, _are_numbers, message=f"--{name} must be one or two numbers"
        )


def policy_options():
    """The flags of the views as `augment.policy.preset` takes them."""
    options = {
        "name": FLAGS.views,
        "image_size": FLAGS.image_size,
        "local_crops": FLAGS.local_crops,
        "local_size": FLAGS.local_size,
    }
    for name in STRENGTHS:
        if FLAGS[name].value is not None:
            numbers = tuple(float(text) for text in FLAGS[name].value)
            options[name] = numbers if len(numbers) == 2 else numbers[0]
    if FLAGS.crop_interpolation:
        options["interpolation"] = FLAGS.crop_interpolation
    return options


def _range(name):
    flags.register_validator(
        name,
        lambda texts: (
            texts is None or (len(texts) == 2 and _are_numbers(texts))
        ),
        message=f"--{name} must be two numbers: least,greatest",
    )


def _are_numbers(texts):
    try:
        return texts is None or len([float(text) for text in texts]) in (1, 2)
    except ValueError:
        return False


def model(backbones):
    """Flags that size the networks."""
    flags.DEFINE_string(
        "backbone", "resnet50", f"One of {', '.join(backbones)}."
    )
    flags.DEFINE_integer(
        "projector_dim", 2048, "Dimension d of the embeddings.", lower_bound=1
    )
    flags.DEFINE_integer(
        "projector_layers", 3, "Layers of the projector.", lower_bound=1
    )
    flags.DEFINE_integer(
        "predictor_dim",
        512,
        "Hidden dimension of the online network's predictor; 0: no predictor.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "ema_base",
        0.996,
        "Momentum of the target network at step 0, in [0, 1]; rises to 1 by a"
        " cosine. 0: the target is the online network.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "mixed_bfloat16", "mixed_float16"],
        "What the networks compute in; mixed: weights, batch norm's statistics"
        " and the objective stay float32. mixed_float16 scales the loss and"
        " skips the steps whose gradients overflow; a forward pass that does"
        " ends the run. The exported encoder is float32.",
    )


def objective(objectives):
    """Flags that choose the loss."""
    flags.DEFINE_enum("objective", "mec", objectives, "The loss.")
    flags.DEFINE_float(
        "distortion",
        0.06,
        "epsilon_d squared, the allowed mean squared distortion per dimension,"
        " above 0; lambda = 1 / (batch_size * distortion).",
    )
    _positive("distortion")
    flags.DEFINE_integer(
        "taylor_order",
        4,
        "Terms of the Taylor series of eq. (2); 0: the exact log-det, eq. (1).",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "mec_form",
        "auto",
        ["auto", "batch", "feature"],
        "Side of the matrix: batch-wise [m, m], feature-wise [d, d], or the"
        " cheaper one. All give the same value.",
    )
    flags.DEFINE_enum(
        "embedding_norm",
        "l2",
        ["l2", "batch"],
        "l2: every embedding gets length 1. batch: every dimension is"
        " standardised over the global batch and divided by sqrt(d).",
    )
    flags.DEFINE_float(
        "lambda_warmup_epochs",
        10,
        "Epochs over which 1/lambda falls linearly from 8 times its value.",
        lower_bound=0,
    )
    flags.DEFINE_bool(
        "convergence_guard",
        True,
        "Raise the distortion of a step where the series would leave its region"
        " of convergence (no effect at --taylor_order=0).",
    )


def optimisation():
    """Flags that say how long and how fast to learn."""
    flags.DEFINE_enum(
        "optimizer", "sgd", ["sgd", "lars"], "SGD or LARS, with momentum."
    )
    flags.DEFINE_integer(
        "batch_size", 1024, "Images per step, over all devices.", lower_bound=2
    )
    flags.DEFINE_integer(
        "micro_batch_size",
        0,
        "Images that are in memory at a time, over all devices, a divisor of"
        " --batch_size; 0: all. The gradient is exactly that of the whole"
        " batch, at the price of one more forward pass; batch norm sees one"
        " micro-batch at a time.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "steps_per_execution",
        1,
        "Steps per call into TensorFlow, which saves time where steps are"
        " short. Checkpoints, SIGTERM and the progress line wait for that many"
        " steps. Where it does not divide an epoch the next smaller number"
        " that does is taken.",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "base_lr",
        0.5,
        "Peak learning rate per 256 images: lr = base_lr * batch_size / 256.",
    )
    _positive("base_lr")
    flags.DEFINE_float(
        "weight_decay", 1e-5, "Coupled (L2) weight decay.", lower_bound=0
    )
    flags.DEFINE_float(
        "momentum", 0.9, "In [0, 1).", lower_bound=0, upper_bound=0.999999
    )
    flags.DEFINE_integer(
        "epochs", 100, "Passes over the training images.", lower_bound=1
    )
    flags.DEFINE_integer(
        "steps", 0, "Training steps; 0: as --epochs say.", lower_bound=0
    )
    flags.DEFINE_float(
        "warmup_epochs",
        10,
        "Epochs over which the learning rate rises linearly; it then falls to"
        " 0 by a cosine.",
        lower_bound=0,
    )


def seed():
    """The one seed."""
    flags.DEFINE_integer(
        "seed", 0, "Seeds every random decision.", lower_bound=0
    )


def device(strategies, what=""):
    """Flags that say where to compute; `what` is computed there, if not all."""
    flags.DEFINE_enum(
        "strategy",
        "auto",
        strategies,
        "auto: all GPUs of the machine, or its one device; one_device; mirrored"
        " (GPUs, or --logical_cpus); multi_worker (the machines of TF_CONFIG"
        f" or of a Slurm job: docs/scaling.md). {what}".rstrip(),
    )
    flags.DEFINE_integer(
        "logical_cpus",
        1,
        "Parts that the CPU is split into, to try mirrored without GPUs.",
        lower_bound=1,
    )
    flags.DEFINE_bool(
        "deterministic",
        None,
        "Same flags, same weights, bit for bit. Default: on where there is no"
        " GPU and XLA is not asked for.",
    )


def keeping():
    """Flags that say where a run is kept so that it can be interrupted."""
    define_path(
        "workdir",
        None,
        "Folder of the run. Default: runs/<flagfile's name>. Reports take"
        " several, comma-separated.",
    )
    flags.DEFINE_float(
        "checkpoint_minutes",
        15,
        "Minutes between checkpoints inside an epoch.",
        lower_bound=0,
    )
    flags.DEFINE_bool(
        "overwrite",
        False,
        "Start anew: first removes the run in the workdir and, when training,"
        " the export. To go on with a run leave it out.",
    )


def running():
    """Flags that say what a run keeps and when it looks at itself."""
    flags.DEFINE_enum(
        "jit",
        "auto",
        ["auto", "on", "off"],
        "Whether XLA compiles the step. auto: on a single GPU; CPUs are slower"
        " with it. on: one device only (over several XLA fails on CPUs and is"
        " untried on GPUs), not with --deterministic.",
    )
    keeping()
    define_path(
        "export_dir",
        None,
        "Folder of the exported encoder. Default: exports/<flagfile's name>.",
    )
    flags.DEFINE_integer(
        "knn_every_epochs",
        1,
        "Epochs between looks at the representation: RankMe, and kNN accuracy"
        " where there are labels; 0: never.",
        lower_bound=0,
    )
    flags.DEFINE_bool(
        "checkpoint_each_epoch", True, "Also save at the end of each epoch."
    )
    flags.DEFINE_integer(
        "keep_checkpoints", 2, "Newest checkpoints that stay.", lower_bound=1
    )
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Print what the flags amount to, take one step on at most 4 images per"
        " device, or one per micro-batch, leave nothing behind.",
    )


def evaluation(protocols, suites):
    """Flags that say what is scored, and by which protocol."""
    define_paths(
        "encoder",
        None,
        "What to score; repeated, or several comma-separated: folders of"
        " exports, .keras files, workdirs, random:BACKBONE (untrained), pixels"
        " (the image itself).",
        required=True,
    )
    flags.DEFINE_enum(
        "protocol",
        "knn",
        protocols,
        "knn: weighted k-nearest-neighbours. linear: a linear head on frozen"
        " features. logistic: L-BFGS on frozen features. finetune: all weights"
        " learn. transfer: the sets of --suite. features: write them to"
        " --output.",
    )
    flags.DEFINE_enum("suite", "paper", suites, "Sets to transfer to.")
    flags.DEFINE_list(
        "sets", None, "Some of the suite's sets, by name. Default: all."
    )
    flags.DEFINE_enum(
        "transfer_by",
        "linear",
        ["linear", "logistic", "finetune"],
        "Protocol that --protocol=transfer applies to each set.",
    )
    define_path(
        "output",
        None,
        "JSON file for the scores. Default: scores.json in the workdir, where"
        " there is one, else runs/NAME_scores.json after the flagfile or the"
        " protocol; the former one is replaced. features: the .npy, .npz or"
        " .parquet file, with a JSON beside it.",
    )
    define_path(
        "feature_cache",
        None,
        "Folder that keeps features for the next time, under a checksum of"
        " encoder and images; and out of memory, however many there are.",
    )
    flags.DEFINE_enum(
        "metric",
        None,
        ["top1", "mean_per_class", "map11"],
        "What the score is, and what chooses rates and penalties. Default:"
        " top1; map11 (VOC2007's) where images are of several classes.",
    )


def labelled_part():
    """Flags that say which labels may be used."""
    flags.DEFINE_float(
        "label_fraction",
        1.0,
        "Share of each class's training labels that is used, in (0, 1]; at"
        " least one image of each. Where images are of several classes: share"
        " of all images.",
        lower_bound=0,
        upper_bound=1,
    )
    _positive("label_fraction")
    define_path(
        "split_file",
        None,
        "File that lists the labelled training images by name, one per line,"
        " such as SimCLR's 1 % and 10 % of ImageNet.",
    )
    flags.DEFINE_float(
        "validation_fraction",
        None,
        "Share of each class's training images, in [0, 0.9], that chooses the"
        " penalty (logistic; default 0.2) or the rate (linear; default 0: the"
        " test images that are scored also choose, as often on ImageNet;"
        " chosen_on in the JSON says so). What was chosen then learns from all"
        " training images, which takes linear twice as long.",
        lower_bound=0,
        upper_bound=0.9,
    )


def crops():
    """Flags that say how images are cropped when they are scored."""
    flags.DEFINE_enum(
        "test_resize",
        "short",
        ["short", "square"],
        "How test images are resized before the centre crop. short: the short"
        " side, as the MEC authors' code; square: both, as the paper.",
    )
    flags.DEFINE_float(
        "crop_fraction",
        None,
        "Side of the centre crop, share of the resized image's, in (0, 1]."
        " Default: 0.875 (224 of 256) from 160 pixels up, else 1.",
        lower_bound=0.01,
        upper_bound=1,
    )
    flags.DEFINE_enum(
        "interpolation",
        "bicubic",
        ["bicubic", "bilinear"],
        "How images are resampled; the MEC authors' code: bilinear.",
    )
    flags.DEFINE_list(
        "crop_area",
        ["0.08", "1"],
        "Least,greatest area of the crop that linear and finetune train on,"
        " share of the image's.",
    )
    _range("crop_area")
    flags.DEFINE_float(
        "flip",
        0.5,
        "Probability that linear and finetune flip a training image.",
        lower_bound=0,
        upper_bound=1,
    )


def neighbours(metrics):
    """Flags of kNN."""
    flags.DEFINE_integer("knn_k", 20, "Neighbours that vote.", lower_bound=1)
    flags.DEFINE_float(
        "knn_temperature",
        0.07,
        "Of the votes, above 0; inf: all weigh the same.",
    )
    _positive("knn_temperature")
    flags.DEFINE_enum(
        "knn_metric",
        "cosine",
        metrics,
        "cosine: votes exp(s / temperature). euclidean: exp(-d^2 / (2"
        " temperature)).",
    )
    flags.DEFINE_integer(
        "labels_per_class",
        0,
        "knn: also score 1-NN with this many labelled references per class, the"
        " mean of 20 draws; 0: do not.",
        lower_bound=0,
    )


def classifiers():
    """Flags of the protocols that fit a classifier."""
    flags.DEFINE_integer(
        "penalties",
        45,
        "logistic: penalties to try, log-spaced in [1e-6, 1e5].",
        lower_bound=2,
    )
    flags.DEFINE_integer(
        "batch_size",
        None,
        "Images per step, over all devices. Default: 4096 (linear), 1024"
        " (finetune); a smaller set is one batch, which is said.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "epochs",
        None,
        "Passes over the labelled images. Default: 100 (linear), 50"
        " (finetune).",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "steps",
        0,
        "linear, finetune: training steps; 0: as --epochs say.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "base_lr",
        0.05,
        "finetune: peak rate per 256 images; it falls to 0 by a cosine.",
        lower_bound=0,
    )
    flags.DEFINE_list(
        "head_lr",
        None,
        "Peak rate of the head per 256 images. linear: several train side by"
        " side and the best counts (default 0.03,0.1,0.3,1,3). finetune: one"
        " (default: --base_lr).",
    )
    flags.register_validator(
        "head_lr",
        lambda texts: not texts or _all_positive(texts),
        message="--head_lr must be numbers above 0, comma-separated",
    )
    flags.DEFINE_float(
        "weight_decay", 0.0, "Coupled (L2) weight decay.", lower_bound=0
    )
    flags.DEFINE_bool(
        "feature_norm",
        False,
        "linear: standardise features by a batch norm without affine (epsilon"
        " 1e-6), as the MEC authors' code.",
    )


def _all_positive(texts):
    try:
        return all(float(text) > 0 for text in texts)
    except ValueError:
        return False


def export(formats, networks):
    """Flags that say what is handed on, and in which format."""
    define_path("workdir", None, "Folder of the run to export from.")
    flags.DEFINE_integer(
        "step",
        None,
        "Step of the run's checkpoint. Default: the newest.",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "network",
        "online",
        networks,
        "online: the network that learns by gradient. target: its moving"
        " average.",
    )
    define_path(
        "encoder",
        None,
        "Instead of a run: an export's folder, or random:BACKBONE (untrained).",
    )
    define_path(
        "from_torch",
        None,
        "Instead of a run: file of torchvision's weights or of the MEC authors'"
        " checkpoint, for --backbone.",
    )
    flags.DEFINE_string(
        "backbone", None, "What the weights of --from_torch were made for."
    )
    flags.DEFINE_enum(
        "format",
        "saved_model",
        formats,
        "saved_model: TensorFlow, serving. keras: encoder.keras. onnx: other"
        " runtimes. torchvision: PyTorch, UniTrack. detectron2: detectors.",
    )
    define_path(
        "export_dir",
        None,
        "Folder to write. Default: exports/NAME, after the run, export,"
        " backbone or file; exports/NAME_FORMAT for other formats than"
        " saved_model.",
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "Side that serve_bytes resizes images to, pixels. Default: what the"
        " encoder was trained at, else 224.",
        lower_bound=1,
    )
    flags.DEFINE_bool(
        "include_projector",
        False,
        "Also hand on the projector: the output (SavedModel: the signature)"
        " `embedding`.",
    )
    flags.DEFINE_bool(
        "intermediate",
        False,
        "Also hand on the stages' feature maps: the outputs (SavedModel: of the"
        " signature `intermediate`) `res2` to `res5`.",
    )
    flags.DEFINE_bool(
        "overwrite", False, "Replace the export that stands in --export_dir."
    )


def resolved():
    """Every flag of the running main with its value, as `--name=value` lines.

    Names are sorted, so that two runs can be compared line by line. What only
    says how to start (`--overwrite`, `--dry_run`) is not part of a run.
    """
    return {name: _as_text(FLAGS[name].value) for name in _of_a_run()}


def defaults():
    """The default of every flag that `resolved` tells the value of."""
    return {name: _as_text(FLAGS[name].default) for name in _of_a_run()}


def _of_a_run():
    flags_here = FLAGS.get_flags_for_module("mec_tf.legacy_flags")
    names = {flag.name for flag in flags_here} - {"overwrite", "dry_run"}
    return sorted(names)


def _as_text(value):
    return ",".join(value) if isinstance(value, list) else value


def flagfile_name(argv):
    """Stem of the last `--flagfile` on the command line, or None.

    absl forgets it while parsing, and it names the run.
    """
    name = None
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        option, _, value = argument.partition("=")
        if option in ("--flagfile", "-flagfile"):
            name = Path(value or following).stem
    return name


def is_named(name, argv):
    """Whether the command line itself, not a flagfile, has `--name`."""
    options = [argument.partition("=")[0] for argument in argv[1:]]
    return f"--{name}" in options or f"-{name}" in options


def parse(argv):
    """Parses the command line; one line and exit code 2 where it is wrong."""
    try:
        return FLAGS(argv)
    except flags.Error as error:
        reason = " ".join(str(error).split())
        print(f"mec_tf: {reason} (see --helpfull)", file=sys.stderr)
        sys.exit(2)
