"""The reference of the input benchmark: views made by Pillow alone.

The operations, and their order, that torchvision performs on Pillow images for
the paper's views, here without TensorFlow.
"""

import math
import random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_BLUR = (1.0, 0.1)
_SOLARIZE = (0.0, 0.2)


def load_views(path, size=224):
    """Returns the paper's two views of one file.

    Args:
      path: an image file.
      size: side of the views, in pixels.

    Returns:
      Two float32 `[size, size, 3]`, normalised.
    """
    with Image.open(path) as file:
        image = file.convert("RGB")
    return [_view(image, size, number) for number in range(2)]


def _view(image, size, number):
    box = _random_box(*image.size)
    view = image.crop(box).resize((size, size), Image.Resampling.BICUBIC)
    if random.random() < 0.5:
        view = ImageOps.mirror(view)
    if random.random() < 0.8:
        view = _jitter(view)
    if random.random() < 0.2:
        view = view.convert("L").convert("RGB")
    if random.random() < _BLUR[number]:
        view = view.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2)))
    if random.random() < _SOLARIZE[number]:
        view = ImageOps.solarize(view, 128)
    return (np.asarray(view, np.float32) / 255 - _MEAN) / _STD


def _random_box(width, height):
    for _ in range(10):
        area = random.uniform(0.08, 1) * width * height
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        across = round(math.sqrt(area * ratio))
        down = round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left = random.randint(0, width - across)
            top = random.randint(0, height - down)
            return left, top, left + across, top + down
    return 0, 0, width, height


def _jitter(view):
    operations = [
        lambda x: ImageEnhance.Brightness(x).enhance(random.uniform(0.6, 1.4)),
        lambda x: ImageEnhance.Contrast(x).enhance(random.uniform(0.6, 1.4)),
        lambda x: ImageEnhance.Color(x).enhance(random.uniform(0.8, 1.2)),
        _turn_hue,
    ]
    random.shuffle(operations)
    for operation in operations:
        view = operation(view)
    return view


def _turn_hue(view):
    hue, saturation, value = view.convert("HSV").split()
    turn = int(random.uniform(-0.1, 0.1) * 255) % 256
    hue = Image.fromarray(np.asarray(hue) + np.uint8(turn))
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
