"""Exports an encoder: from a run, an export or PyTorch, in any format."""

from pathlib import Path

from mec_tf.config.export import ExportConfig
from mec_tf.distribution.session import dtype_policy
from mec_tf.errors import UserError
from mec_tf.files.atomic import replaced_folder
from mec_tf.formats import (
    detectron2,
    keras_file,
    loading,
    onnx,
    saved_model,
    torch_file,
    torchvision,
)
from mec_tf.formats.loading import LoadedEncoder
from mec_tf.formats.metadata import (
    check_export_dir,
    export_lock,
    write_metadata,
)
from mec_tf.formats.pixel_range import with_guess
from mec_tf.models.encoder import backbone_of, with_more_outputs
from mec_tf.training.callbacks.csv_logger import last_scores


def export(config: ExportConfig) -> Path:
    """Loads an encoder and writes it to `export_dir`, whole or not at all.

    Args:
        config: Of the export.

    Returns:
        The folder that was written.

    Raises:
        UserError: If there is no such encoder, if it lacks what is asked for,
            or if something stands in the way.
    """
    config = config.with_default_paths(None)
    folder = Path(config.export_dir)
    check_export_dir(folder, overwrite=config.overwrite)
    with dtype_policy("float32"):
        loaded = _load(config)
        if config.image_size:
            loaded.metadata["image_size"] = config.image_size
        with export_lock(folder):
            check_export_dir(folder, overwrite=config.overwrite)
            _write(
                config.format, folder, loaded, _extra_outputs(config, loaded)
            )
    return folder


def _load(config: ExportConfig) -> LoadedEncoder:
    if config.encoder:
        return loading.load_encoder(config.encoder)
    if config.from_torch:
        return loading.from_torch(
            Path(config.from_torch), config.backbone, network=config.network
        )
    run = Path(config.workdir)
    loaded = loading.from_run(run, step=config.step, network=config.network)
    if config.network == "online":  # the one that was scored
        loaded.metadata["scores"] = last_scores(run, loaded.metadata["steps"])
    return loaded


def _extra_outputs(config, loaded):
    """The outputs of the encoder besides its features."""
    if config.include_projector and loaded.projector is None:
        raise UserError(
            "there is no projector to include; give the `workdir` of a run or"
            " the MEC authors' checkpoint"
        )
    projector = loaded.projector if config.include_projector else None
    return {"projector": projector, "intermediate": config.intermediate}


def _write(name, folder, loaded, extras):
    if name == "saved_model":
        saved_model.save(loaded.encoder, folder, **extras, **loaded.metadata)
        return
    with replaced_folder(folder) as partial:
        _WRITERS[name](partial, folder, loaded, extras)
        write_metadata(partial, loaded.encoder, **loaded.metadata)


def _write_keras(partial, _, loaded, extras):
    """Writes `encoder.keras`."""
    path = partial / keras_file.KERAS_FILE
    keras_file.write(loaded.encoder, path, **extras)


def _write_onnx(partial, _, loaded, extras):
    """Writes `encoder.onnx`."""
    model = with_more_outputs(with_guess(loaded.encoder), **extras)
    onnx.write_onnx(model, partial / "encoder.onnx")


def _write_torchvision(partial, _, loaded, extras):
    """Writes `encoder.pth`, a state dict."""
    state_dict = torchvision.to_state_dict(backbone_of(loaded.encoder))
    torch_file.write_torch_file(partial / "encoder.pth", state_dict)


def _write_detectron2(partial, folder, loaded, extras):
    """Writes `encoder.pkl`, and what a detector's config says of it."""
    backbone = backbone_of(loaded.encoder)
    detectron2.write_pickle(partial / "encoder.pkl", backbone)
    text = detectron2.config_text(
        backbone,
        weights=(folder / "encoder.pkl").absolute(),
        mean=loaded.metadata["mean"],
        std=loaded.metadata["std"],
    )
    (partial / detectron2.CONFIG_FILE).write_text(text)


_WRITERS = {
    "keras": _write_keras,
    "onnx": _write_onnx,
    "torchvision": _write_torchvision,
    "detectron2": _write_detectron2,
}
