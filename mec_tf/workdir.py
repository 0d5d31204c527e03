"""The folder of a run: whose it is, and whether it may be used."""

import shutil

from mec_tf.errors import UserError
from mec_tf.files import partial_of, remove_folder, replaced_file

FLAGS_FILE = "flags.cfg"


def claim(workdir, flags, *, overwrite, export=None, ignored=()):
    """Makes the folder of a run, or takes up one that the same flags made.

    Args:
        workdir: `pathlib.Path`.
        flags: Dict of every resolved flag of the run.
        overwrite: Remove the run that stands there first, and its export.
        export: `pathlib.Path` of the encoder that the run will write, if any;
            what stands there may be removed.
        ignored: Names of flags that may differ: they say where and how a run
            computes, not what.

    Raises:
        UserError: If the folder holds something else, or a run with other
            flags, or if it is part of `export`, which is replaced.
    """
    if export is not None and workdir.resolve().is_relative_to(
        export.resolve()
    ):
        raise UserError(
            f"--workdir={workdir} is part of --export_dir={export}, which would"
            " replace it; name another folder for one of them"
        )
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir={workdir} is a file; name a folder")
    path = workdir / FLAGS_FILE
    found = set(workdir.iterdir()) if workdir.exists() else set()
    # A process killed while it wrote the flags leaves a part of them.
    if path not in found and found - {partial_of(path)}:
        raise UserError(
            f"--workdir={workdir} holds files but no run ({FLAGS_FILE} is"
            " missing); name an empty or a new folder"
        )
    if overwrite:
        if path.exists():
            _remove_run(workdir)
        # Or the new run would be taken for exported before it is.
        if export is not None and export.exists():
            remove_folder(export)
    if path.exists():
        _compare(path, flags, ignored)
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as partial:
        partial.write_text(
            "".join(
                f"--{name}={value}\n"
                for name, value in flags.items()
                if value is not None
            )
        )


def join(workdir, flags, *, ignored=()):
    """Takes part in a run whose folder another process has claimed.

    Args:
        workdir: As in `claim`.
        flags: As in `claim`.
        ignored: As in `claim`.

    Raises:
        UserError: If the folder is not to be seen from here, or if the flags
            are not those that it was claimed with.
    """
    path = workdir / FLAGS_FILE
    if not path.exists():
        raise UserError(
            f"--workdir={workdir} holds no {FLAGS_FILE}, which the chief wrote"
            " there; name a folder that all workers share"
        )
    _compare(path, flags, ignored)


def _remove_run(workdir):
    """Removes all but the folder, which may be a disk of its own.

    The flags go last: without them a folder that is half removed would not be
    taken for a run any more.
    """
    for path in workdir.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != FLAGS_FILE:
            path.unlink()
    (workdir / FLAGS_FILE).unlink()


def _compare(path, flags, ignored):
    former = read_flags(path)
    now = {name: str(value) for name, value in flags.items()}
    names = sorted(
        name
        for name in former.keys() | now.keys()
        if former.get(name, "None") != now.get(name, "None")
        and name not in ignored
    )
    if names:
        changes = ", ".join(
            f"--{name} was {former.get(name)} and is now {now.get(name)}"
            for name in names
        )
        raise UserError(
            f"{path.parent} holds a run with other flags: {changes}; name"
            " another --workdir, or start anew with --overwrite"
        )


def read_flags(path):
    """The flags of a run as a dict of strings."""
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name.removeprefix("--"): value for name, _, value in pairs}
