"""`run.json`: the record of a run besides its flags.

It holds an id, the kind of run, fingerprints of the images, and the defaults of
the version that began the run. Runs of older versions have no record; their
kind follows from their flags.
"""

import dataclasses
import json
import uuid
from pathlib import Path
from typing import Any

from mec_tf.errors import UserError
from mec_tf.files.atomic import replaced_file

RECORD_FILE = "run.json"
PRETRAINING, EVALUATION = "pretraining", "evaluation"
# Flags that only runs of one kind have.
_FLAG_OF_KIND = {"projector_dim": PRETRAINING, "protocol": EVALUATION}


@dataclasses.dataclass(frozen=True)
class Record:
    """The record of a run.

    Attributes:
        id: Hexadecimal digits, of this run alone.
        kind: `PRETRAINING` or `EVALUATION`.
        defaults: Flag to default, strings, as the version had them that began
            the run; empty where that version kept no record.
        data: Role to images, see `of_images`.
    """

    id: str
    kind: str
    defaults: dict
    data: dict


def begin(kind: str, defaults: dict, data: dict) -> Record:
    """The record of a run that begins."""
    texts = {name: str(value) for name, value in defaults.items()}
    return Record(uuid.uuid4().hex, kind, texts, data)


def read(workdir: Path) -> Record | None:
    """The record in a workdir; None where there is none.

    Raises:
        UserError: If it cannot be understood.
    """
    path = workdir / RECORD_FILE
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error}); expected what a run wrote there:"
            " bring it back from a copy, or remove it, and the run goes on as"
            " one whose images are not known"
        ) from error


def write(workdir: Path, record: Record) -> None:
    """Writes the record of a run, whole or not at all."""
    with replaced_file(workdir / RECORD_FILE) as partial:
        text = json.dumps(dataclasses.asdict(record), indent=1)
        partial.write_text(text + "\n")


def kind_of(record: Record | None, flags: dict) -> str | None:
    """The kind of a run; None if it is none of ours.

    Args:
        record: Of the run, if it has one.
        flags: Of the run, dict of strings.
    """
    if record is not None:
        return record.kind
    return next((k for n, k in _FLAG_OF_KIND.items() if n in flags), None)


def of_images(source: Any) -> dict[str, Any]:
    """The record of a `data.sources.Source`: description, size, fingerprint."""
    return {
        "description": source.description,
        "images": source.size,
        "fingerprint": source.fingerprint(),
    }
