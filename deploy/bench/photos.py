"""Writes JPEGs of 500x375 pixels, cut from photographs that packages ship; the same ones at each run.

  photos.py OUTPUT_FOLDER QUALITY N PACKAGES DEBIAN

PACKAGES is a folder of Python packages (scikit-image and scikit-learn), DEBIAN one of unpacked Debian packages (opencv-doc and
plasma-workspace-wallpapers). Each file is a random window of 4:3, at least 45 % of the largest one's side, scaled with Lanczos,
and stored as baseline 4:2:0, as most files of ImageNet are.
"""

import io
import pathlib
import random
import sys

output, quality, n, packages, debian = sys.argv[1:]
sys.path.append(packages)

from PIL import Image  # noqa: E402

WIDTH, HEIGHT = 500, 375
OPENCV = "usr/share/doc/opencv-doc/examples/data"
WALLPAPERS = "usr/share/wallpapers"
SOURCES = [
    *(f"{packages}/sklearn/datasets/images/{name}.jpg" for name in ("china", "flower")),
    *(f"{packages}/skimage/data/{name}.png" for name in ("astronaut", "chelsea", "coffee", "ihc", "motorcycle_left")),
    *(f"{packages}/skimage/data/{name}.jpg" for name in ("rocket", "retina", "hubble_deep_field")),
    *(
        f"{debian}/{OPENCV}/{name}.jpg"
        for name in "aloeL leuvenA baboon board fruits building messi5 squirrel_cls aero1 aero3 butterfly home".split()
    ),
    *(
        f"{debian}/{WALLPAPERS}/{name}/contents/images/2560x1600.jpg"
        for name in "Autumn ColorfulCups EveningGlow FallenLeaf ColdRipple BytheWater Kite OneStandsOut Path".split()
    ),
]


def window(image, draw):
    """A random window of 4:3, scaled."""
    width, height = image.size
    share = draw.uniform(0.45, 1.0)
    cut_width = min(width, height * WIDTH / HEIGHT) * share
    cut_height = cut_width * HEIGHT / WIDTH
    left, top = draw.uniform(0, width - cut_width), draw.uniform(0, height - cut_height)
    return image.resize((WIDTH, HEIGHT), Image.LANCZOS, box=(left, top, left + cut_width, top + cut_height))


def main():
    """Writes all files and says how large they are."""
    photographs = [Image.open(path).convert("RGB") for path in SOURCES]
    folder, draw, n_bytes = pathlib.Path(output), random.Random(0), 0
    folder.mkdir(parents=True, exist_ok=True)
    for idx in range(int(n)):
        file = io.BytesIO()
        window(photographs[idx % len(photographs)], draw).save(file, "JPEG", quality=int(quality), subsampling=2)
        (folder / f"{idx:04}.jpg").write_bytes(file.getvalue())
        n_bytes += len(file.getvalue())
    print(f"{n} files of {n_bytes / int(n) / 1e3:.0f} kB at quality {quality}, from {len(photographs)} photographs")


main()
