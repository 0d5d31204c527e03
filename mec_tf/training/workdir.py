"""The workdir of a run: claiming, resuming and overwriting it."""

import contextlib
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from mec_tf.errors import UserError
from mec_tf.files.atomic import remove_folder, replaced_file
from mec_tf.training import run_record
from mec_tf.training.run_lock import Lock
from mec_tf.training.run_record import PRETRAINING, RECORD_FILE, Record

FLAGS_FILE = "flags.cfg"
LOCK_FILE = ".lock"
# All files that runs write, besides their flags; others in a workdir are the
# user's and never removed. A new file that runs write gets a line here.
_WRITTEN = (
    RECORD_FILE,
    "metrics.csv",
    "scores.json",
    "figures/curves.png",
    "figures/views.png",
    "tensorboard/events.out.tfevents.*",
    # An evaluation's are in a folder for each encoder and set of images.
    "checkpoints/*step-*/state.*",
    "checkpoints/*step-*/manifest.json",
    "checkpoints/*/*step-*/state.*",
    "checkpoints/*/*step-*/manifest.json",
)
# Temporary files of processes that were killed.
_BEGUN = (
    f".{FLAGS_FILE}.*",
    f".{RECORD_FILE}.*",
    ".metrics.csv.*",
    ".scores.json.*",
    "checkpoints/.step-*",
    "checkpoints/*/.step-*",
)
# Files that may exist before a run has begun.
_BEFORE_A_RUN = (RECORD_FILE, LOCK_FILE, *_BEGUN[:2])


@contextlib.contextmanager
def claim(
    workdir: Path,
    flags: dict,
    *,
    kind: str,
    overwrite: bool,
    defaults: dict | None = None,
    formerly: dict | None = None,
    data: dict | None = None,
    export: Path | None = None,
    ignored: Collection[str] = (),
) -> Iterator[Record]:
    """Creates the workdir of a run, or resumes one that the same flags began.

    Until the context is left, other processes cannot claim the workdir.

    Args:
        workdir: Where the run is kept.
        flags: Dict of every resolved flag of the run.
        kind: `run_record.PRETRAINING` or `run_record.EVALUATION`.
        overwrite: Remove the run that stands there first, and its export. Only
            a run of the same kind is, and only what runs write.
        defaults: The default of each flag: what it was in a run that was begun
            before there was such a flag, unless `formerly` knows better.
        formerly: What a flag was in such a run whose default would change what
            the run does.
        data: Role to the images that the run learns from, as
            `run_record.of_images` gives them; others are refused.
        export: The encoder that the run will write, if any; what stands there
            may be removed.
        ignored: Names of flags that may differ: they say where and how a run
            computes, not what.

    Yields:
        The record of the run.

    Raises:
        UserError: If the folder holds something else, a run of another kind,
            with other flags or on other images, or one that another process
            is at work on; or if it is part of `export`, which is replaced.
    """
    defaults, data = defaults or {}, data or {}
    # What a flag is taken for that a run knows nothing of.
    unknown = {**defaults, **(formerly or {})}
    if export is not None and workdir.resolve().is_relative_to(
        export.resolve()
    ):
        raise UserError(
            f"`workdir`={workdir} is part of `export_dir`={export}, which would"
            " replace it; name another folder for one of them"
        )
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"`workdir`={workdir} is a file; name a folder")
    _require_kind(workdir, kind)
    workdir.mkdir(parents=True, exist_ok=True)
    lock = Lock(
        workdir / LOCK_FILE,
        f"`workdir`={workdir}",
        remedy="or name another folder",
    )
    with lock:
        # Again: it may have become another's before it was locked.
        _require_kind(workdir, kind)
        if overwrite:
            _remove_run(workdir)
            # Or the new run would be taken for exported before it is.
            if export is not None and export.exists():
                remove_folder(export)
        if (workdir / FLAGS_FILE).exists() and not overwrite:
            record = _resume(workdir, flags, kind, unknown, data, ignored)
        else:
            record = run_record.begin(kind, defaults, data)
            run_record.write(workdir, record)
            _write_flags(workdir / FLAGS_FILE, flags)
        yield record


def join(
    workdir: Path,
    flags: dict,
    *,
    defaults: dict | None = None,
    formerly: dict | None = None,
    ignored: Collection[str] = (),
) -> None:
    """Takes part in a run whose folder another process has claimed.

    Args:
        workdir: As in `claim`.
        flags: As in `claim`.
        defaults: As in `claim`.
        formerly: As in `claim`.
        ignored: As in `claim`.

    Raises:
        UserError: If the folder is not to be seen from here, or if the flags
            are not those that it was claimed with.
    """
    if not (workdir / FLAGS_FILE).exists():
        raise UserError(
            f"`workdir`={workdir} holds no {FLAGS_FILE}, which the chief wrote"
            " there; name a folder that all workers share"
        )
    unknown = {**(defaults or {}), **(formerly or {})}
    _compare_flags(workdir, flags, unknown, ignored)


def read_flags(path: Path) -> dict[str, str]:
    """The flags of a run as a dict of strings."""
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name.removeprefix("--"): value for name, _, value in pairs}


def pretraining_flags(workdir: Path, setting: str) -> dict[str, str]:
    """The flags of a run that pretrained an encoder.

    Args:
        workdir: Its folder.
        setting: The field that named it, for the message.

    Raises:
        UserError: If there is no run, or one that evaluates.
    """
    if not (workdir / FLAGS_FILE).is_file():
        raise UserError(
            f"`{setting}`={workdir} holds no run ({FLAGS_FILE} is missing);"
            " name the folder of a run"
        )
    flags = read_flags(workdir / FLAGS_FILE)
    kind = run_record.kind_of(run_record.read(workdir), flags)
    if kind != PRETRAINING:
        raise UserError(
            f"`{setting}`={workdir} holds {_named(kind)}; name the folder of a"
            " run that pretrained an encoder"
        )
    return flags


def distinct_names(workdirs: list[Path]) -> list[str]:
    """A short name for each of several folders, no two of them equal.

    The last part of each path, and as many before it as it takes: `a/x` and
    `b/x` keep both of theirs.

    Args:
        workdirs: Different folders.
    """
    paths = [path.resolve() for path in workdirs]
    length = 1
    while True:
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
        length += 1


def _require_kind(workdir, kind):
    """Makes sure that a folder is free or holds a run of a kind."""
    found = set(workdir.iterdir()) if workdir.exists() else set()
    if workdir / FLAGS_FILE not in found:
        if found - set(_matches(workdir, _BEFORE_A_RUN)):
            raise UserError(
                f"`workdir`={workdir} holds files but no run ({FLAGS_FILE} is"
                " missing); name an empty or a new folder"
            )
        return
    flags = read_flags(workdir / FLAGS_FILE)
    there = run_record.kind_of(run_record.read(workdir), flags)
    if there != kind:
        raise UserError(
            f"`workdir`={workdir} holds {_named(there)}, which stays as it is;"
            f" {_named(kind)} needs a folder of its own: name another"
        )


def _named(kind):
    return f"a run of {kind}" if kind else "a run of a kind that is not known"


def _resume(workdir, flags, kind, unknown, data, ignored):
    """The record of the existing run, after comparing flags and images."""
    _compare_flags(workdir, flags, unknown, ignored)
    record = run_record.read(workdir)
    if record is None:  # begun by a version that kept none
        record = run_record.begin(kind, {}, data)
        run_record.write(workdir, record)
    for role, now in data.items():
        was = record.data.get(role)
        if was is None or was["fingerprint"] == now["fingerprint"]:
            continue
        raise UserError(
            f"`workdir`={workdir} holds a run on other images: it was begun on"
            f" {was['description']}, fingerprint {was['fingerprint'][:8]}, and"
            f" would go on on {now['description']}, fingerprint"
            f" {now['fingerprint'][:8]}; give it the images back that it had,"
            " name another `workdir`, or start anew with `overwrite`"
        )
    return record


def _compare_flags(workdir, flags, unknown, ignored):
    former = read_flags(workdir / FLAGS_FILE)
    record = run_record.read(workdir)
    known = record.defaults if record else {}
    changes, gone = [], []
    for name in sorted(former.keys() | flags.keys()):
        if name in ignored:
            continue
        if name not in flags:
            if former[name] != known.get(name):
                gone.append(f"`{name}`={former[name]}")
            continue
        # Lines of flags that are None are left out, and of flags to come.
        missing = None if name in known else unknown.get(name)
        was, now = former.get(name, str(missing)), str(flags[name])
        if not _same(was, now):
            changes.append(f"`{name}` was {was} and is now {now}")
    if gone:
        raise UserError(
            f"`workdir`={workdir} holds a run with {', '.join(gone)}, which"
            " this version does not know; take the version that began it, name"
            f" another `workdir`, or, if it makes no difference, remove the"
            f" line from {workdir / FLAGS_FILE}"
        )
    if changes:
        raise UserError(
            f"{workdir} holds a run with other flags: {', '.join(changes)};"
            " name another `workdir`, or start anew with `overwrite`"
        )


def _same(was, now):
    """Whether two texts are equal, or the same numbers: 0.50 is 0.5."""
    if was == now:
        return True
    try:
        return [*map(float, was.split(","))] == [*map(float, now.split(","))]
    except ValueError:
        return False


def _write_flags(path, flags):
    with replaced_file(path) as partial:
        partial.write_text(
            "".join(
                f"--{name}={value}\n"
                for name, value in flags.items()
                if value is not None
            )
        )


def _remove_run(workdir):
    """Removes what a run wrote, but for its flags, which are replaced.

    Without them a folder that is half removed would not be taken for a run any
    more.
    """
    folders = set()
    for path in [*_matches(workdir, _WRITTEN), *_matches(workdir, _BEGUN)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        folders.update(set(path.parents) - {workdir, *workdir.parents})
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        if not (folder.is_symlink() or any(folder.iterdir())):
            folder.rmdir()


def _matches(workdir, patterns):
    return [path for pattern in patterns for path in workdir.glob(pattern)]
