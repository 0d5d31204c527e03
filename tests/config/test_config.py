"""Configs: checked when made, frozen, and the same from every source."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from conftest import REPOSITORY, environment

import mec_tf
from mec_tf import config as configs
from mec_tf.config import flags, presets
from mec_tf.config.config import Config
from mec_tf.config.setting import setting, settings_of, varied
from mec_tf.errors import UserError

SCORING = ("linear", "semi", "transfer")
CONFIGS = [
    configs.PretrainConfig,
    configs.EvaluateConfig,
    configs.ExportConfig,
    configs.ReportConfig,
]
NEEDED = {
    configs.EvaluateConfig: {"encoder": "exports/x"},
    configs.ExportConfig: {"workdir": "runs/x"},
}


def class_of(preset):
    if preset.startswith(SCORING):
        return configs.EvaluateConfig
    return configs.PretrainConfig


def test_frozen():
    config = configs.PretrainConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.epochs = 3
    assert config.replace(epochs=3).epochs == 3
    assert config.epochs == 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("epochs", "3"),
        ("epochs", True),
        ("epochs", None),
        ("base_lr", 0),
        ("base_lr", float("nan")),
        ("base_lr", float("inf")),
        ("ema_base", 1.5),
        ("momentum", 1),
        ("views", "simclr"),
        ("objective", "msc"),
        ("backbone", "vgg"),
        ("crop_area", 0.5),
        ("crop_area", (1, 0.5)),
        ("crop_area", (0.1, 0.5, 1)),
        ("flip", (0.1, 0.5, 1)),
        ("flip", "often"),
        ("overwrite", 1),
        ("data_dir", 7),
        ("predictor_dim", -1),
        ("taylor_order", "none"),
        ("micro_batch_size", 100),
        ("stepz", 3),
    ],
)
def test_an_error_names_the_field(field, value):
    with pytest.raises(UserError, match=f"`{field}`"):
        configs.PretrainConfig().replace(**{field: value})


@pytest.mark.parametrize(
    ("config", "changes", "fields"),
    [
        (
            configs.PretrainConfig,
            {"ema_base": 0, "predictor_dim": 0, "taylor_order": 1},
            ("ema_base", "predictor_dim", "taylor_order"),
        ),
        (
            configs.PretrainConfig,
            {"jit": "on", "deterministic": True},
            ("jit", "deterministic"),
        ),
        (
            configs.PretrainConfig,
            {"logical_cpus": 2, "strategy": "multi_worker"},
            ("logical_cpus", "strategy"),
        ),
        (configs.EvaluateConfig, {"encoder": ()}, ("encoder",)),
        (configs.EvaluateConfig, {"protocol": "features"}, ("output",)),
        (
            configs.EvaluateConfig,
            {"protocol": "finetune", "head_lr": (1, 2)},
            ("head_lr",),
        ),
        (
            configs.EvaluateConfig,
            {
                "protocol": "transfer",
                "transfer_by": "logistic",
                "validation_fraction": 0,
            },
            ("validation_fraction",),
        ),
        (
            configs.EvaluateConfig,
            {"strategy": "multi_worker"},
            ("strategy",),
        ),
        (configs.ExportConfig, {"encoder": "x"}, ("workdir", "encoder")),
        (configs.ExportConfig, {"workdir": None}, ("workdir", "encoder")),
        (configs.ExportConfig, {"backbone": "resnet50"}, ("backbone",)),
        (
            configs.ExportConfig,
            {"workdir": None, "from_torch": "x.pth"},
            ("from_torch", "backbone"),
        ),
        (
            configs.ExportConfig,
            {"workdir": None, "encoder": "x", "step": 3},
            ("step", "workdir"),
        ),
        (
            configs.ExportConfig,
            {"workdir": None, "encoder": "x", "network": "target"},
            ("network", "workdir"),
        ),
        (
            configs.ExportConfig,
            {"format": "detectron2", "intermediate": True},
            ("format", "intermediate"),
        ),
    ],
)
def test_what_does_not_go_together_is_named(config, changes, fields):
    with pytest.raises(UserError) as caught:
        config(**NEEDED.get(config, {}) | changes)
    for field in fields:
        assert f"`{field}`" in str(caught.value)


def test_values_come_in_the_type_of_their_field():
    config = configs.PretrainConfig(
        data_dir=Path("images"),
        epochs=np.int64(3),
        base_lr=1,
        flip=[0.5],
        hue=(0.1, 0),
        crop_area=[np.float32(0.5), 1],
    )
    assert config.data_dir == "images"
    assert type(config.epochs) is int
    assert (config.base_lr, type(config.base_lr)) == (1.0, float)
    assert (config.flip, config.hue) == (0.5, (0.1, 0.0))
    assert config.crop_area == (0.5, 1.0)
    score = configs.EvaluateConfig(encoder=Path("exports/x"))
    assert score.encoder == ("exports/x",)


@pytest.mark.parametrize(
    ("field", "word", "value"),
    [
        ("predictor_dim", "none", None),
        ("ema_base", "none", None),
        ("taylor_order", "exact", "exact"),
        ("steps", "none", None),
        ("micro_batch_size", "none", None),
        ("knn_every_epochs", "never", None),
    ],
)
def test_modes_have_names_and_keep_their_old_spelling(field, word, value):
    former = flags.parse(configs.PretrainConfig, [f"--{field}=0"]).config
    named = flags.parse(configs.PretrainConfig, [f"--{field}={word}"]).config
    assert getattr(named, field) == getattr(former, field) == value
    assert configs.PretrainConfig().replace(**{field: 0}) == (
        configs.PretrainConfig().replace(**{field: word})
    )
    assert float(named.to_flags()[field]) == 0  # as flags.cfg had it


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_its_flagfile(name, monkeypatch, tmp_path):
    config = class_of(name)
    path = REPOSITORY / "flags" / f"{name}.cfg"
    needed = NEEDED.get(config, {})
    monkeypatch.chdir(tmp_path)  # from any folder
    preset = config.from_preset(name, **needed)
    assert preset == config.from_flagfile(path, **needed)
    arguments = [f"--{key}={value}" for key, value in needed.items()]
    for source in (f"--preset={name}", f"--flagfile={path}"):
        parsed = flags.parse(config, [source, *arguments])
        assert (parsed.config, parsed.name) == (preset, name)
        assert parsed.named == needed.keys()
    # A run of it can be taken up from what it is recorded with.
    assert config.from_flags(preset.to_flags()) == preset
    if config is configs.PretrainConfig:
        assert preset.workdir == f"runs/{name}"
        assert preset.export_dir == f"exports/{name}"
        configs.ReportConfig.from_flags(preset.to_flags())


def test_changes_overrule_the_preset():
    config = configs.PretrainConfig.from_preset(
        "digits", epochs=3, workdir="here"
    )
    assert (config.epochs, config.workdir) == (3, "here")
    assert config.image_size == 16
    with pytest.raises(UserError, match="`preset`=digitz.*digits"):
        configs.PretrainConfig.from_preset("digitz")
    with pytest.raises(UserError, match="`epoch`"):
        configs.PretrainConfig.from_preset("digits", epoch=3)


def test_flagfiles_nest_as_absl_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.cfg").write_text("--epochs=1\n--base_lr=1\n")
    (tmp_path / "b.cfg").write_text(
        "# a comment\n// another\n\n  --flagfile=deep/a.cfg\n--epochs=2\n"
    )
    config = configs.PretrainConfig.from_flagfile("b.cfg")
    assert (config.epochs, config.base_lr) == (2, 1.0)
    parsed = flags.parse(
        configs.PretrainConfig,
        ["--epochs=5", "-flagfile", "b.cfg", "--base_lr=3"],
    )
    assert (parsed.config.epochs, parsed.config.base_lr) == (2, 3.0)
    assert parsed.named == {"epochs", "base_lr"}
    assert parsed.given.keys() == {"epochs", "base_lr"}
    assert parsed.name == "b"

    (tmp_path / "flags").mkdir()
    (tmp_path / "flags/c.cfg").write_text("--flagfile=flags/d.cfg")
    (tmp_path / "flags/d.cfg").write_text("--epochs=4")
    monkeypatch.chdir(tmp_path / "deep")
    config = configs.PretrainConfig.from_flagfile(tmp_path / "flags/c.cfg")
    assert config.epochs == 4


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("--epoch=3", "epochs"),
        ("--epochs=ten", "epochs"),
        ("epochs=3", "epochs=3"),
        ("--flagfile=bad.cfg", "itself"),
        ("--flagfile=none.cfg", "none.cfg"),
    ],
)
def test_a_bad_flagfile_is_refused(content, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.cfg").write_text(content)
    with pytest.raises(UserError, match=what):
        configs.PretrainConfig.from_flagfile("bad.cfg")


def test_what_an_older_run_lacks_is_as_it_was_then():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Newer(configs.PretrainConfig):
        """Newer."""

        norm: str = setting("new", "A new setting.", formerly="old")

    kept = configs.PretrainConfig(epochs=3).to_flags()
    assert Newer.from_flags(kept).norm == "old"
    assert Newer(epochs=3).norm == "new"
    assert Newer.from_flags(kept).replace(norm="new") == Newer(epochs=3)
    with pytest.raises(UserError, match="norm"):
        configs.PretrainConfig.from_flags({"norm": "old"})


def test_a_group_says_its_settings_once():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Group(Config):
        """Group: of a test."""

        size: int | Literal["all"] = setting(3, "Size.", least=1, zero="all")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class One(Group):
        """One."""

        size: int | Literal["all"] = varied(Group, "size", default=0)
        own: bool = setting(False, "Own.")

    assert (Group().size, One().size) == (3, "all")
    settings = settings_of(One)
    assert [(one.name, one.group) for one in settings.values()] == [
        ("size", "Group"),
        ("own", "One"),
    ]
    assert "Size." in flags.help_text(One)


def test_a_setting_that_may_be_none_can_be_written_down():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Lossy(Config):
        """None would come back as 3."""

        size: int | None = setting(3, "Size.")

    with pytest.raises(TypeError, match="size"):
        Lossy()


@pytest.mark.parametrize("config", CONFIGS)
def test_every_setting_is_explained_in_a_group(config):
    text = flags.help_text(config)
    for name, one in settings_of(config).items():
        assert f"\n  --{name}" in text
        assert one.options.help.endswith(".")
        assert f"{one.group}:\n" in text
    assert "`epochs`" not in text


def test_bare_views_are_a_wish_that_changes_nothing():
    parsed = flags.parse(configs.ReportConfig, ["--views", "--workdir=a,b"])
    assert (parsed.config.views, parsed.named) == ("byol", {"views", "workdir"})
    assert parsed.given.keys() == {"workdir"}
    assert parsed.config.workdir == ("a", "b")
    named = flags.parse(configs.ReportConfig, ["--views=digits"])
    assert named.given == {"views": "digits"}


def test_encoders_add_up():
    parsed = flags.parse(
        configs.EvaluateConfig, ["--encoder=a,b", "--encoder=c"]
    )
    assert parsed.config.encoder == ("a", "b", "c")
    for wrong in ([], ["--encoder=a,,b"], ["--encoder="]):
        with pytest.raises(UserError, match="encoder"):
            flags.parse(configs.EvaluateConfig, wrong)


def test_a_path_that_exists_stays_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    parsed = flags.parse(configs.EvaluateConfig, ["--encoder=a,b,~/c"])
    home = os.path.expanduser("~")
    assert parsed.config.encoder == ("a,b", f"{home}/c")
    python = configs.EvaluateConfig(encoder="a,b", output="~/scores.json")
    assert python.encoder == ("a,b",)
    assert python.output == f"{home}/scores.json"
    assert python.replace(seed=1).encoder == ("a,b",)


def test_it_is_known_without_tensorflow():
    program = (
        "import sys, mec_tf\n"
        "mec_tf.PretrainConfig.from_preset('digits')\n"
        "from mec_tf.command_line import command, main\n"
        "heavy = {'tensorflow', 'keras', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "assert {'PretrainConfig', 'objectives'} <= set(dir(mec_tf))\n"
    )
    subprocess.run(
        [sys.executable, "-c", program], env=environment(), check=True
    )


def test_rooms_are_imported_when_asked_for():
    assert mec_tf.objectives.mec.coding_length
    assert mec_tf.models.build_backbone
    with pytest.raises(AttributeError):
        mec_tf.nothing  # noqa: B018
