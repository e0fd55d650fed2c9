"""MoCo v2's two views of JPEG files in other libraries, as a persistent process: the peers of `make bench-data`.

  data_peer.py torchvision FOLDER SIZE    torchvision's transforms on Pillow: what MoCo v2's own code does
  data_peer.py opencv FOLDER SIZE         OpenCV, with the jitter that it has no operation for written in numpy
  data_peer.py dali FOLDER SIZE           DALI's operators for the CPU, in batches of 16

All decode a file once for both views and give normalised f32 in planes. Prints `ready N`, then answers each line `run N` with
`N SECONDS CHECK`. Files are read before; one thread works.
"""

import io
import math
import pathlib
import random
import sys
import time

import numpy as np

peer, folder, size = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SCALE, RATIO, SIGMA = (0.2, 1.0), (3 / 4, 4 / 3), (0.1, 2.0)
BATCH = 16


def torchvision():
    """MoCo v2's transform, as its repository has it."""
    import torch
    from PIL import Image, ImageFilter
    from torchvision import transforms

    torch.set_num_threads(1)
    torch.manual_seed(0)

    def blur(image):
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(*SIGMA)))

    view = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=SCALE),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.RandomApply([transforms.Lambda(blur)], p=0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )

    def make(file):
        image = Image.open(io.BytesIO(file)).convert("RGB")
        return [view(image), view(image)]

    return one_by_one(make)


def opencv():
    """What a user of OpenCV writes; factors and order of the jitter are drawn as torchvision does."""
    import cv2

    cv2.setNumThreads(1)
    shift, factor = np.array(MEAN, np.float32) * 255, 1 / (np.array(STD, np.float32) * 255)

    def crop(image):
        height, width = image.shape[:2]
        for _ in range(10):
            area = width * height * random.uniform(*SCALE)
            ratio = math.exp(random.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top, left = random.randint(0, height - h), random.randint(0, width - w)
                return image[top : top + h, left : left + w]
        return image

    def grey(image):
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

    def change_hue(image, turn):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        # OpenCV's hue of 8 bits has 180 values.
        table = ((np.arange(256) + round(180 * turn)) % 180).astype(np.uint8)
        hsv[..., 0] = cv2.LUT(hsv[..., 0], table)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    def jitter(image):
        for op in random.sample(range(4), 4):
            f = random.uniform(0.6, 1.4)
            if op == 0:
                image = cv2.convertScaleAbs(image, alpha=f)
            elif op == 1:
                image = cv2.addWeighted(image, f, image, 0, (1 - f) * cv2.mean(grey(image))[0])
            elif op == 2:
                image = cv2.addWeighted(image, f, cv2.cvtColor(grey(image), cv2.COLOR_GRAY2RGB), 1 - f, 0)
            else:
                image = change_hue(image, random.uniform(-0.1, 0.1))
        return image

    def view(image):
        cut = crop(image)
        shrinks = min(cut.shape[:2]) > size
        image = cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if random.random() < 0.8:
            image = jitter(image)
        if random.random() < 0.2:
            image = cv2.cvtColor(grey(image), cv2.COLOR_GRAY2RGB)
        if random.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), random.uniform(*SIGMA))
        if random.random() < 0.5:
            image = cv2.flip(image, 1)
        return np.ascontiguousarray(((image.astype(np.float32) - shift) * factor).transpose(2, 0, 1))

    def make(file):
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return [view(image), view(image)]

    return one_by_one(make)


def dali():
    """DALI; its hue is a linear map, and brightness, contrast, saturation and hue are one operation in one order."""
    from nvidia.dali import fn, pipeline_def, types

    arrays = [np.frombuffer(file, np.uint8) for file in files]
    position = 0

    def source():
        nonlocal position
        batch = [arrays[(position + at) % len(arrays)] for at in range(BATCH)]
        position += BATCH
        return batch

    def coin(probability, dtype):
        return fn.random.coin_flip(probability=probability, dtype=dtype)

    def view(image):
        image = fn.random_resized_crop(
            image, size=(size, size), random_area=SCALE, random_aspect_ratio=RATIO, interp_type=types.INTERP_LINEAR
        )
        jitters, coloured = coin(0.8, types.INT32), coin(0.8, types.INT32)

        def strength(amount):
            return 1.0 + jitters * fn.random.uniform(range=(-amount, amount))

        image = fn.color_twist(
            image,
            brightness=strength(0.4),
            contrast=strength(0.4),
            saturation=strength(0.4) * coloured,
            hue=jitters * fn.random.uniform(range=(-36.0, 36.0)),
        )
        sigma = fn.random.uniform(range=SIGMA)
        if coin(0.5, types.BOOL):
            image = fn.gaussian_blur(image, sigma=sigma)
        mean, std = [255 * value for value in MEAN], [255 * value for value in STD]
        mirror = coin(0.5, types.INT32)
        return fn.crop_mirror_normalize(image, dtype=types.FLOAT, output_layout="CHW", mean=mean, std=std, mirror=mirror)

    @pipeline_def(
        batch_size=BATCH, num_threads=1, device_id=None, exec_pipelined=False, exec_async=False, enable_conditionals=True
    )
    def views():
        encoded = fn.external_source(source=source, device="cpu", no_copy=True)
        image = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        return view(image), view(image)

    pipeline = views(seed=0, prefetch_queue_depth=1)
    pipeline.build()

    def run(n):
        check = 0.0
        for _ in range(math.ceil(n / BATCH)):
            check += float(pipeline.run()[0].at(0)[0, 5, 9])
        return math.ceil(n / BATCH) * BATCH, check

    return run


def one_by_one(make):
    """Runs a function of one file."""
    random.seed(0)
    position = 0

    def run(n):
        nonlocal position
        check = 0.0
        for _ in range(n):
            check += sum(float(view[0, 5, 9]) for view in make(files[position % len(files)]))
            position += 1
        return n, check

    return run


run = {"torchvision": torchvision, "opencv": opencv, "dali": dali}[peer]()
run(2 * BATCH)
print("ready", len(files), flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    n, check = run(int(line.split()[1]))
    print(n, f"{time.perf_counter() - start:.6f} {check:.4f}", flush=True)
