"""Every flag of the mains of before is a field of the same meaning.

Goes when the mains are built on configs.
"""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY, environment

from mec_tf import config as configs
from mec_tf.config import flags
from mec_tf.config.setting import settings_of

CONFIGS = {
    "train": configs.PretrainConfig,
    "evaluate": configs.EvaluateConfig,
    "export": configs.ExportConfig,
    "report": configs.ReportConfig,
}
PROBES = [
    *("-1", "0", "0.0", "1e-9", "0.01", "0.5", "0.9", "0.95", "1", "1.5", "2"),
    *("3", "1000000", "1e9", "0x10", "x", "none", "true", "False", "0.1,1"),
    *("0.1,0.2,0.3", "a,b", "0.1,x", "auto", "mirrored", "multi_worker"),
    *("byol", "exact", "on", "linear", "bicubic", "mec", "lars", "online"),
    *(
        "cosine",
        "map11",
        "onnx",
        "square",
        "l2",
        "feature",
        "paper",
        "finetune",
    ),
    "mixed_float16",
]
# Prints what the flags of before say to each probe, main by main.
BEFORE = """
import importlib, json, sys
from absl import flags
found = {}
for main in ("train", "export", "report"):
    importlib.import_module(f"mec_tf.{main}")
    from mec_tf import choices
    from mec_tf import legacy_flags
    found[main] = {}
    for flag in list(flags.FLAGS.get_flags_for_module("mec_tf.legacy_flags")):
        def text():
            value = flag.value
            return ",".join(value) if isinstance(value, list) else (
                None if value is None else str(value))
        default = text()
        probed = {}
        for probe in json.loads(sys.argv[1]):
            flag.unparse()
            try:
                flag.parse(probe)
                for validator in flag.validators:
                    validator.verify(flags.FLAGS)
                probed[probe] = text()
            except (flags.Error, flags.ValidationError):
                pass
        flag.unparse()
        found[main][flag.name] = [default, flag.help, flag.boolean, probed]
        delattr(flags.FLAGS, flag.name)
from mec_tf import export
assert export.FORMATS == choices.FORMATS
assert export.OF_WEIGHTS == choices.FORMATS_OF_WEIGHTS
print(json.dumps(found))
"""
# Modes have names now, which the help tells.
NAMED = {"predictor_dim", "ema_base", "taylor_order", "micro_batch_size"} | {
    "steps",
    "knn_every_epochs",
    "labels_per_class",
    "convergence_guard",  # tells of --taylor_order=0
}


def numbers(text):
    """Numbers of a list, which may be spelt in several ways."""
    if text in (None, "refused"):
        return text
    return [float(part) for part in text.split(",")]


@pytest.fixture(scope="module")
def before():
    ended = subprocess.run(
        [sys.executable, "-c", BEFORE, json.dumps(PROBES)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize("main", ["train", "export", "report"])
def test_flags_are_those_of_before(main, before):
    settings = settings_of(CONFIGS[main])
    added = {"draw_views"} if main == "report" else set()
    assert settings.keys() - added == before[main].keys()
    wrong = []
    for name, (default, text, boolean, probed) in before[main].items():
        one = settings[name]
        absls = flags.flag_values(CONFIGS[main])[name]
        now = one.plain(one.default)
        if (None if now in (None, "") else str(now)) != default:
            wrong.append(f"{name}: default {now!r}, was {default!r}")
        if absls.boolean != boolean:
            wrong.append(f"{name}: boolean {absls.boolean}, was {boolean}")
        text = text.split(";\n    repeat this option")[0]  # absl's own
        said = flags.as_flags(CONFIGS[main], one.facts.help)
        if one.facts.choices:
            said = f"<{'|'.join(one.facts.choices)}>: {said}"
        if said.replace('"', "`") != text and name not in NAMED:
            wrong.append(f"{name}: {said!r}\nwas {text!r}")
        for probe in PROBES:
            if one.facts.bare and probe == "true":  # a bare --views
                continue
            try:
                value = one.plain(one.read(probe))
                value = None if value is None else str(value)
            except ValueError:
                value = "refused"
            former = probed.get(probe, "refused")
            if one.several and one.kind is float:
                value, former = numbers(value), numbers(former)
            if value != former and probe != one.facts.zero:
                wrong.append(f"{name}={probe}: {value!r}, was {former!r}")
    assert not wrong, "\n".join(wrong)


# Prints what flags.cfg would hold for each of the flagfiles, after its name.
RECORDED = """
import json, sys
from absl import flags
from mec_tf import choices
from mec_tf import legacy_flags
kind, *paths = sys.argv[1:]
if kind == "train":
    legacy_flags.data(image_size=224)
    legacy_flags.views(choices.VIEWS)
    legacy_flags.model(choices.BACKBONES)
    legacy_flags.objective(choices.OBJECTIVES)
    legacy_flags.optimisation()
    legacy_flags.seed()
    legacy_flags.device(choices.STRATEGIES)
    legacy_flags.running()
else:
    legacy_flags.data(image_size=None)
    legacy_flags.seed()
    legacy_flags.device(choices.STRATEGIES_OF_ONE_MACHINE)
    legacy_flags.evaluation(choices.PROTOCOLS, choices.SUITES)
    legacy_flags.labelled_part()
    legacy_flags.crops()
    legacy_flags.neighbours(choices.KNN_METRICS)
    legacy_flags.classifiers()
    legacy_flags.keeping()
found = {}
for path in paths:
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS.unparse_flags()
    given = ["--encoder=a,b"] if kind == "evaluate" else [
        "--crop_area=0.08,1", "--flip=0.5", "--weight_decay=1e-6"]
    flags.FLAGS(["x", f"--flagfile={path}", *given])
    found[path] = legacy_flags.resolved()
print(json.dumps(found))
"""


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_runs_are_recorded_as_before(kind, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    scoring = ("linear", "semi", "transfer")
    paths = [
        f"flags/{path.name}"
        for path in sorted((REPOSITORY / "flags").glob("*.cfg"))
        if path.stem.startswith(scoring) == (kind == "evaluate")
    ]
    ended = subprocess.run(
        [sys.executable, "-c", RECORDED, kind, *paths],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    config = CONFIGS[kind]
    changes = (
        {"encoder": ("a", "b")}
        if kind == "evaluate"
        else {"crop_area": (0.08, 1), "flip": 0.5, "weight_decay": 1e-6}
    )
    for path, recorded in json.loads(ended.stdout).items():
        parsed = flags.read(config, [f"--flagfile={path}"]).given
        made = config(**parsed | changes)
        if recorded.get("head_lr") == "":  # its protocol then fills it in
            recorded["head_lr"] = None
        assert list(made.values().items()) == list(recorded.items())
        lines = {k: str(v) for k, v in recorded.items() if v is not None}
        assert made.to_flags() == lines
        assert config.from_flags(lines) == made


def test_what_may_differ_is_that_of_before():
    from mec_tf import legacy_flags

    assert configs.PretrainConfig.may_differ() == {*legacy_flags.WHERE_AND_HOW}
    assert configs.EvaluateConfig.may_differ() == (
        {*legacy_flags.WHERE_AND_HOW, "output"}
        & settings_of(configs.EvaluateConfig).keys()
    )
