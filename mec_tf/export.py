"""Hand an encoder on: from a run, an export or PyTorch, in any format.

python -m mec_tf.export --workdir=runs/digits --format=onnx
python -m mec_tf.export --from_torch=resnet50.pth --backbone=resnet50
"""

from pathlib import Path

from mec_tf import legacy_command, legacy_flags
from mec_tf.errors import UserError
from mec_tf.files.atomic import replaced_folder
from mec_tf.formats import (
    detectron2,
    keras_file,
    onnx,
    origins,
    saved_model,
    torch_file,
    torchvision,
)
from mec_tf.formats.card import (
    export_lock,
    refuse_what_stands_in_the_way,
    write_card,
)
from mec_tf.formats.origins import RANDOM
from mec_tf.formats.pixel_range import with_guess
from mec_tf.models.encoder import backbone_of, with_more_outputs
from mec_tf.training.callbacks.history import last_scores

FORMATS = ("saved_model", "keras", "onnx", "torchvision", "detectron2")
OF_WEIGHTS = ("torchvision", "detectron2")

FLAGS = legacy_flags.FLAGS
legacy_flags.export(FORMATS, origins.NETWORKS)


def main():
    """Opens what the flags name and writes it, whole or not at all."""
    folder = Path(FLAGS.export_dir or f"exports/{default_name()}")
    refuse_what_stands_in_the_way(folder, overwrite=FLAGS.overwrite)
    origin = open_origin()
    with export_lock(folder):
        refuse_what_stands_in_the_way(folder, overwrite=FLAGS.overwrite)
        write(folder, origin)
    print(f"{FLAGS.format}: {folder}")


def write(folder, origin):
    """Writes what the flags ask for."""
    if FLAGS.image_size:
        origin.about["image_size"] = FLAGS.image_size
    extras = extra_outputs(origin)
    if FLAGS.format == "saved_model":
        saved_model.save(origin.encoder, folder, **extras, **origin.about)
    else:
        with replaced_folder(folder) as partial:
            WRITERS[FLAGS.format](partial, folder, origin, extras)
            write_card(partial, origin.encoder, **origin.about)


def default_name():
    """What the export is called where the flags do not say."""
    given = [
        name
        for name in ("workdir", "encoder", "from_torch")
        if FLAGS[name].value is not None
    ]
    if len(given) != 1:
        raise UserError(
            f"received {len(given)} of --workdir=RUN, --encoder=EXPORT and"
            " --from_torch=FILE; give one of them"
        )
    source = FLAGS[given[0]].value
    name = Path(source.removeprefix(RANDOM)).name
    name = name.split(".")[0] if FLAGS.from_torch else name
    name = name.replace(":", "_")
    return name if FLAGS.format == "saved_model" else f"{name}_{FLAGS.format}"


def open_origin():
    """The encoder that the flags name."""
    if FLAGS.step is not None and not FLAGS.workdir:
        raise UserError("--step is of a run: give --workdir=RUN, too")
    if FLAGS.backbone and not FLAGS.from_torch:
        raise UserError("--backbone is for --from_torch; leave it out")
    if FLAGS.encoder:
        if FLAGS.network == "target":
            raise UserError("--network=target needs a run: --workdir=RUN")
        return origins.open_origin(FLAGS.encoder)
    if FLAGS.from_torch:
        if not FLAGS.backbone:
            raise UserError(
                f"--from_torch={FLAGS.from_torch} does not say what network its"
                " weights are of; give --backbone, such as --backbone=resnet50"
            )
        return origins.from_torch(
            Path(FLAGS.from_torch), FLAGS.backbone, network=FLAGS.network
        )
    run = Path(FLAGS.workdir)
    origin = origins.from_run(run, step=FLAGS.step, network=FLAGS.network)
    if FLAGS.network == "online":  # the one that was scored
        origin.about["scores"] = last_scores(run, origin.about["steps"])
    return origin


def extra_outputs(origin):
    """What the encoder returns beside its features."""
    wanted = [
        f"--{name}"
        for name in ("include_projector", "intermediate")
        if FLAGS[name].value
    ]
    if wanted and FLAGS.format in OF_WEIGHTS:
        raise UserError(
            f"--format={FLAGS.format} is a file of the backbone's weights;"
            f" leave out {' and '.join(wanted)}"
        )
    if FLAGS.include_projector and origin.projector is None:
        raise UserError(
            "there is no projector to include; give the --workdir of a run or"
            " the MEC authors' checkpoint"
        )
    projector = origin.projector if FLAGS.include_projector else None
    return {"projector": projector, "intermediate": FLAGS.intermediate}


def write_keras(partial, _, origin, extras):
    """Writes `encoder.keras`."""
    path = partial / keras_file.KERAS_FILE
    keras_file.write(origin.encoder, path, **extras)


def write_onnx(partial, _, origin, extras):
    """Writes `encoder.onnx`."""
    model = with_more_outputs(with_guess(origin.encoder), **extras)
    onnx.write_onnx(model, partial / "encoder.onnx")


def write_torchvision(partial, _, origin, extras):
    """Writes `encoder.pth`, a state dict."""
    state_dict = torchvision.to_state_dict(backbone_of(origin.encoder))
    torch_file.write_torch_file(partial / "encoder.pth", state_dict)


def write_detectron2(partial, folder, origin, extras):
    """Writes `encoder.pkl`, and `detectron2.yaml`, which it also prints."""
    backbone = backbone_of(origin.encoder)
    detectron2.write_pickle(partial / "encoder.pkl", backbone)
    text = detectron2.config_text(
        backbone,
        weights=(folder / "encoder.pkl").absolute(),
        mean=origin.about["mean"],
        std=origin.about["std"],
    )
    (partial / "detectron2.yaml").write_text(text)
    print(text, end="")


WRITERS = {
    "keras": write_keras,
    "onnx": write_onnx,
    "torchvision": write_torchvision,
    "detectron2": write_detectron2,
}

if __name__ == "__main__":
    legacy_command.run(main)
