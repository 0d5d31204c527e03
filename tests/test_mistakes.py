"""A user's mistakes: one line that says what, and nothing lost."""

import hashlib
import re
import shutil

import pytest
from conftest import SMALL
from PIL import Image

from mec_tf.formats import torchvision
from mec_tf.formats.torch_file import write_torch_file
from mec_tf.models import build_backbone

IMAGES = ("--dataset=folder", "--image_size=8", "--batch_size=4")
# (command line, exit code, what the one line must say)
TRAIN = {
    # First: devices can only be split before anything is computed.
    "uneven shares": (
        ["--strategy=mirrored", "--logical_cpus=3", "--dry_run"],
        1,
        "--batch_size=256 cannot be shared evenly by 3",
    ),
    "misspelt flag": (["--btach_size=3"], 2, "btach_size.*batch_size"),
    "missing flagfile": (["--flagfile=none.cfg"], 2, "none.cfg"),
    "unknown dataset": (["--dataset=mnist"], 1, "mnist.*digits.*folder.*tfds"),
    "unknown tfds": (["--dataset=tfds:nothing"], 1, "nothing"),
    "unknown split": (["--test_split=val"], 1, "'val'"),
    "unknown preset": (["--views=simclr"], 2, "views.*byol"),
    "half a range": (["--crop_area=0.5"], 2, "crop_area.*two numbers"),
    "unknown backbone": (["--backbone=vgg"], 1, "'vgg'.*resnet50"),
    "unknown objective": (["--objective=msc"], 2, "objective.*mec"),
    "distortion 0": (["--distortion=0"], 2, "distortion.*above 0"),
    "negative order": (["--taylor_order=-1"], 2, "taylor_order"),
    "ema above 1": (["--ema_base=1.5"], 2, "ema_base"),
    "no learning rate": (["--base_lr=0"], 2, "base_lr.*above 0"),
    "epochs in words": (["--epochs=ten"], 2, "epochs.*ten"),
    "no epochs": (["--epochs=0"], 2, "epochs"),
    "batch of one": (["--batch_size=1"], 2, "batch_size"),
    "batch beyond the set": (["--batch_size=5000"], 1, "5000.*1438 images"),
    "cosine alone": (
        ["--ema_base=0", "--predictor_dim=0", "--taylor_order=1"],
        1,
        "order of 2 or more",
    ),
    "no folder named": ([*IMAGES], 1, "--data_dir"),
    "missing folder": ([*IMAGES, "--data_dir=nowhere"], 1, "nowhere"),
    "empty folder": ([*IMAGES, "--data_dir=empty"], 1, "empty"),
    "folder without images": ([*IMAGES, "--data_dir=texts"], 1, "texts"),
    "mostly bad images": (
        [*IMAGES, "--data_dir=broken", "--workdir=bad", "--epochs=5"],
        1,
        "could not be read, more than 10%",
    ),
    "workdir is a file": (["--workdir=a_file"], 1, "a_file is a file"),
    "workdir inside a file": (["--workdir=a_file/run"], 1, "a_file"),
    "workdir of something else": (["--workdir=texts"], 1, "no run"),
    "overwrite something else": (
        ["--workdir=texts", "--overwrite"],
        1,
        "no run",
    ),
    "other flags": (
        ["--workdir=runs/small", "--export_dir=exports/small", "--epochs=4"],
        1,
        "--epochs was 3 and is now 4.*--overwrite",
    ),
    "export in the way": (
        ["--workdir=new", "--export_dir=exports/small"],
        1,
        "exports/small holds an export.*--overwrite",
    ),
    "export over something else": (
        ["--workdir=new", "--export_dir=flat", "--overwrite"],
        1,
        "flat exists and is no export",
    ),
    "export over the run": (
        ["--workdir=runs/small", "--export_dir=runs", "--overwrite"],
        1,
        "runs exists and is no export",
    ),
    "another model's checkpoint": (
        ["--flagfile=other/flags.cfg"],
        1,
        "of another model",
    ),
    "no intact checkpoint": (
        ["--flagfile=damaged/flags.cfg"],
        1,
        "no checkpoint in .* is intact",
    ),
    "no cluster": (["--strategy=multi_worker"], 1, "TF_CONFIG nor Slurm"),
    "split worker": (
        ["--strategy=multi_worker", "--logical_cpus=2"],
        1,
        "start more workers instead",
    ),
    "diverging": (
        ["--workdir=nan", "--base_lr=1e30", "--warmup_epochs=0", "--epochs=9"],
        1,
        "loss became .* at step",
    ),
}
EVALUATE = {
    "no encoder": ([], 2, "encoder"),
    "missing export": (["--encoder=gone"], 1, "gone is no folder"),
    "no export": (["--encoder=texts"], 1, "texts is not an exported encoder"),
    "no labels": (
        ["--encoder=pixels", "--dataset=folder", "--data_dir=flat"],
        1,
        "has no labels",
    ),
    "too few labels": (
        ["--encoder=pixels", "--image_size=8", "--labels_per_class=999"],
        1,
        "at most",
    ),
    "size of pixels": (["--encoder=pixels"], 1, "--image_size"),
    "unknown protocol": (["--encoder=pixels", "--protocol=svm"], 2, "protocol"),
}

EXPORT = {
    "nothing named": ([], 1, "received 0 of --workdir"),
    "two named": (["--workdir=runs/small", "--encoder=x"], 1, "received 2 of"),
    "no run": (["--workdir=gone"], 1, "gone holds no run"),
    "no checkpoint yet": (["--workdir=young"], 1, "no checkpoint can be read"),
    "no such step": (
        ["--workdir=runs/small", "--step=7", "--export_dir=p"],
        1,
        "no checkpoint of step 7 .* steps 10, 15",
    ),
    "only damaged": (["--workdir=damaged"], 1, "damaged .state.data.*checksum"),
    "no export": (["--encoder=texts"], 1, "encoder=texts cannot be opened"),
    "unknown backbone": (["--encoder=random:vgg"], 1, "'vgg'.*resnet50"),
    "export in the way": (
        ["--workdir=runs/small", "--export_dir=exports/small"],
        1,
        "exports/small holds an export.*--overwrite",
    ),
    "overwrite something else": (
        ["--workdir=runs/small", "--export_dir=runs/small", "--overwrite"],
        1,
        "runs/small exists and is no export",
    ),
    "no such file": (
        ["--from_torch=gone.pth", "--backbone=resnet18"],
        1,
        "gone.pth",
    ),
    "no torch file": (
        ["--from_torch=a_file", "--backbone=resnet18"],
        1,
        "a_file, which cannot be unpickled with weights only",
    ),
    "backbone missing": (["--from_torch=tiny.pth"], 1, "give --backbone"),
    "wrong backbone": (
        ["--from_torch=tiny.pth", "--backbone=resnet18"],
        1,
        "does not fit 'resnet18'.* more",
    ),
    "no target": (
        ["--from_torch=tiny.pth", "--backbone=resnet_tiny", "--network=target"],
        1,
        "leave out --network=target",
    ),
    "no projector": (
        ["--encoder=exports/small", "--include_projector", "--export_dir=p"],
        1,
        "no projector to include",
    ),
    "projector in weights": (
        ["--workdir=runs/small", "--include_projector", "--format=torchvision"],
        1,
        "leave out --include_projector",
    ),
    "no ResNet for torchvision": (
        ["--encoder=random:keras:MobileNetV2", "--format=torchvision"],
        1,
        "expected a residual network",
    ),
    "no ResNet for detectron2": (
        ["--workdir=runs/small", "--format=detectron2"],
        1,
        "'resnet_tiny'; expected one that Detectron2 has",
    ),
    "no stages": (
        ["--encoder=random:keras:MobileNetV2", "--intermediate"],
        1,
        "no stages res2 to res5",
    ),
    "unknown format": (["--format=tflite"], 2, "format.*saved_model"),
}


@pytest.fixture(scope="module")
def place(small_run, tmp_path_factory):
    """A folder with a finished run in it, and all that can be in the way."""
    folder = tmp_path_factory.mktemp("mistakes")
    source, _ = small_run
    shutil.copytree(source, folder, dirs_exist_ok=True)
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts/notes.txt").write_text("not an image")
    (folder / "flat").mkdir()
    for k in range(3):
        Image.new("RGB", (9, 9), (k, 0, 0)).save(folder / f"flat/{k}.png")
    (folder / "a_file").write_text("in the way")
    (folder / "broken").mkdir()
    for k in range(150):
        path = folder / f"broken/{k}.png"
        Image.effect_noise((40, 40), 50).save(path)
        if k % 3 == 0:  # its header is good
            content = path.read_bytes()
            path.write_bytes(content[:60] + bytes(len(content) - 60))
    (folder / "young").mkdir()
    shutil.copy(folder / "runs/small/flags.cfg", folder / "young")
    tiny = torchvision.to_state_dict(build_backbone("resnet_tiny"))
    write_torch_file(folder / "tiny.pth", tiny)
    for name in ("other", "damaged"):
        shutil.copytree(folder / "runs/small", folder / name)
        flags = (folder / name / "flags.cfg").read_text()
        flags = flags.replace("=runs/small", f"={name}")
        flags = flags.replace("=exports/small", f"={name}.export")
        if name == "other":
            flags = flags.replace("projector_dim=32", "projector_dim=64")
        (folder / name / "flags.cfg").write_text(flags)
    for data in (folder / "damaged").glob("checkpoints/*/state.data*"):
        data.write_bytes(data.read_bytes()[:-9])
    return folder


def contents(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "results.json"
    }


@pytest.mark.parametrize(
    ("main", "cases", "common"),
    [
        ("train", TRAIN, SMALL),
        ("evaluate", EVALUATE, ["--dataset=digits"]),
        ("export", EXPORT, []),
    ],
)
def test_mistakes_get_one_line(main, cases, common, run_lines, place):
    before = contents(place)
    lines = [[*common, *flags] for flags, _, _ in cases.values()]
    results = run_lines(main, lines, cwd=place)
    wrong = []
    for (name, case), ended in zip(cases.items(), results, strict=True):
        _, code, pattern = case
        if ended.code != code or not re.search(pattern, ended.last_line):
            wrong.append(f"{name}: {ended.code} {ended.err}")
        if "Traceback" in ended.err:
            wrong.append(f"{name}: {ended.err}")
    assert not wrong, "\n".join(wrong)
    after = contents(place)
    assert before.items() <= after.items()


def test_there_are_twenty_and_more():
    assert len(TRAIN) + len(EVALUATE) + len(EXPORT) >= 20
