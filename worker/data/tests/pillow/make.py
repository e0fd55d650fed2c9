"""Prints reference values of the image operations, made with Pillow: one line of name, argument, resampling, pixels."""

from PIL import Image, ImageEnhance, ImageOps, __version__

SIZE = 12
LARGE = 24  # so that there are more pixels than values, without which equalize does nothing
FILL = {"RGB": (124, 116, 104), "L": 114}
RESAMPLING = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def source(mode, size):
    """Values from 20 to 219 without a pattern, so that contrast can be stretched; low ones are more frequent."""
    values = [20 + (at * 7919 + at * at * 31) % (200 - at % 3 * 60) for at in range(size * size * len(mode))]
    return Image.frombytes(mode, (size, size), bytes(values))


def line(name, argument, resampling, image):
    print(image.mode, name, argument, resampling, image.tobytes().hex())


def solarize_add(image, add):
    return image.point([min(255, i + add) if i < 128 else i for i in range(256)] * len(image.getbands()))


def affine(image, matrix, resampling):
    return image.transform(image.size, Image.AFFINE, matrix, RESAMPLING[resampling], fillcolor=FILL[image.mode])


print(f"# Pillow {__version__}")
for mode in ("RGB", "L"):
    image = source(mode, LARGE)
    line("source", 0, "-", image)
    line("equalize", 0, "-", ImageOps.equalize(image))
    image = source(mode, SIZE)
    line("source", 0, "-", image)
    line("auto_contrast", 0, "-", ImageOps.autocontrast(image))
    line("equalize", 0, "-", ImageOps.equalize(image))
    line("invert", 0, "-", ImageOps.invert(image))
    for bits in (1, 3, 4, 7):
        line("posterize", bits, "-", ImageOps.posterize(image, bits))
    for threshold in (0, 100, 231, 256):
        line("solarize", threshold, "-", ImageOps.solarize(image, threshold))
    for add in (0, 33, 110):
        line("solarize_add", add, "-", solarize_add(image, add))
    for factor in (0.05, 0.5, 1, 1.27, 1.9):
        for name in ("color", "contrast", "brightness", "sharpness"):
            enhance = getattr(ImageEnhance, name.capitalize())
            line(name, factor, "-", enhance(image).enhance(factor))
    for resampling in RESAMPLING:
        for degrees in (-30, -7.3, 3, 24):
            turned = image.rotate(degrees, RESAMPLING[resampling], fillcolor=FILL[mode])
            line("rotate", degrees, resampling, turned)
        for share in (-0.3, 0.11):
            line("shear_x", share, resampling, affine(image, (1, share, 0, 0, 1, 0), resampling))
            line("shear_y", share, resampling, affine(image, (1, 0, 0, share, 1, 0), resampling))
        for share in (-0.27, 0.45):
            pixels = share * SIZE if resampling != "nearest" else int(share * SIZE)
            line("translate_x", share, resampling, affine(image, (1, 0, pixels, 0, 1, 0), resampling))
            line("translate_y", share, resampling, affine(image, (1, 0, 0, 0, 1, pixels), resampling))
