"""Prints reference values of the views' operations, made with torchvision on tensors of f32, and decoded files of Pillow's.

One line of name, arguments and values: 16 bits each, of [0, 1]; of decoded files, 8 bits. Rows of pixels of channels.
"""

import pathlib

import numpy
import torch
import torchvision
from PIL import Image
from torchvision.transforms.v2 import functional

SIZE = 24
IMAGES = pathlib.Path(__file__).parent.parent / "images"


def source():
    """A smooth image with colours of every hue, and some noise."""
    y, x = numpy.mgrid[0:SIZE, 0:SIZE]
    waves = [numpy.sin(x / 3 + phase) * numpy.cos(y / (4 + phase)) for phase in (0, 2, 4)]
    noise = (x * 7919 + y * 104729 + x * y * 31) % 41
    values = numpy.stack([(wave + 1) * 105 + noise for wave in waves], axis=2)
    return values.clip(0, 255).astype(numpy.uint8)


def line(name, arguments, tensor):
    values = (tensor.permute(1, 2, 0).clamp(0, 1) * 65535).round().to(torch.int32).flatten().tolist()
    print(name, ",".join(str(argument) for argument in arguments) or "-", "".join(f"{value:04x}" for value in values))


print(f"# torchvision {torchvision.__version__}, Pillow {Image.__version__}")
pixels = source()
print("source", SIZE, pixels.tobytes().hex())
image = functional.to_dtype(torch.from_numpy(pixels).permute(2, 0, 1), torch.float32, scale=True)
for factor in (0.6, 1.3):
    line("brightness", (factor,), functional.adjust_brightness(image, factor))
    line("contrast", (factor,), functional.adjust_contrast(image, factor))
    line("saturation", (factor,), functional.adjust_saturation(image, factor))
for turn in (-0.1, 0.07):
    line("hue", (turn,), functional.adjust_hue(image, turn))
line("grayscale", (), functional.rgb_to_grayscale(image, 3))
line("solarize", (0.5,), functional.solarize(image, 0.5))
for sigma in (0.5, 1.1, 2.0):
    line("blur", (sigma,), functional.gaussian_blur(image, [23, 23], [sigma, sigma]))
for left, top, width, height, size in ((0, 0, 24, 24, 10), (3, 1, 17, 20, 16), (5, 6, 9, 7, 20)):
    cropped = functional.resized_crop(image, top, left, height, width, [size, size], antialias=True)
    line("crop", (left, top, width, height, size), cropped)
line("flip", (), functional.horizontal_flip(image))
for name in ("baseline", "progressive", "restart"):
    print("decode", name, Image.open(IMAGES / f"{name}.jpg").convert("RGB").tobytes().hex())
