"""Images that go away while they are read end the reading, in time."""

import shutil
import threading

import pytest
import tensorflow as tf

from mec_tf.augment import policy
from mec_tf.data import bad_images, pipeline, sources
from mec_tf.errors import UserError
from mec_tf.evaluations import features

SECONDS = 60


def exhausts(batches, source):
    """Reads on until an error comes; it, or None after `SECONDS`."""
    found = []

    def read():
        try:
            with bad_images.reporting_failures([source]):
                for _ in batches:
                    pass
        except (UserError, tf.errors.OpError) as error:
            found.append(error)

    # A daemon: a search without end must not keep the tests from ending.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(SECONDS)
    return found[0] if found else None


@pytest.fixture
def images(image_folder, photograph, encoded):
    return image_folder(
        {
            f"{'ab'[k % 2]}/{k}.jpg": encoded(photograph(k, 20, 20))
            for k in range(40)
        }
    )


def training(source):
    views = policy.preset("byol", image_size=16)
    return pipeline.training_batches(source, views, batch_size=8, seed=3)


def scoring(source):
    return pipeline.evaluation_batches(source, image_size=16, batch_size=8)


def empty(folder):
    shutil.rmtree(f"{folder}/a")
    shutil.rmtree(f"{folder}/b")


@pytest.mark.parametrize("make", [training, scoring])
@pytest.mark.parametrize("vanish", [shutil.rmtree, empty])
def test_a_folder_that_goes_ends_it_by_name(images, caplog, make, vanish):
    splits = sources.load("folder", data_dir=images)
    batches = make(splits.pretrain)
    next(iter(batches))
    vanish(images)
    error = exhausts(batches, splits.pretrain)
    assert isinstance(error, UserError)
    assert images in str(error)
    # Not one line for each image that went with it.
    assert len(caplog.messages) <= 1
    # A part of it, as held out for the test images, ends likewise.
    part = exhausts(make(splits.references), splits.references)
    assert isinstance(part, UserError)


def test_every_file_gone_but_not_the_folder(images):
    source = sources.load("folder", data_dir=images).pretrain
    for name in source.file_names:
        shutil.move(name, f"{name}.moved")
    assert isinstance(exhausts(training(source), source), UserError)
    # Scoring says so, too, once it has come to the end.
    with pytest.raises(ValueError, match="no image of"):
        features.extract(lambda images: images, scoring(source))


@pytest.mark.parametrize("make", [training, scoring])
def test_shards_that_go_end_it_by_name(prepared_tfds, photograph, make):
    examples = [
        {"id": f"{k}", "image": photograph(k, 32, 32), "label": k % 10}
        for k in range(12)
    ]
    data_dir = prepared_tfds("cifar10", {"train": examples, "test": examples})
    source = sources.load("tfds:cifar10", data_dir=data_dir).pretrain
    _ = source.labels  # before they go
    batches = make(source)
    shutil.rmtree(data_dir)
    error = exhausts(batches, source)
    assert isinstance(error, UserError)
    assert data_dir in str(error)
