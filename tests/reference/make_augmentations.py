#!/usr/bin/env python3
"""Transforms of an 8-bit image by torchvision's v2 functions: augmentations.safetensors, beside this file.

    python tests/reference/make_augmentations.py

Each tensor is an image [SIZE, SIZE, 3]; its name is the function with its parameters. `image` is what they transform.
Those named `reduced` are [SMALL, SMALL, 3].
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

SIZE = 24
SMALL = 16


def image():
    """Waves of other lengths and directions in each channel, over all levels, with a dark corner."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    waves = [x * 7 + y * 3, x * 5 - y * 11 + 40, x * y + 90]
    levels = torch.stack(waves) % 256
    levels[:, :5, :5] = levels[:, :5, :5] // 8
    return levels.to(torch.uint8)


def cases(image):
    modes = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR}
    for name, mode in modes.items():
        for angle in (-37.0, 12.5, 90.0):
            yield f"rotate.{name}.{angle}", F.rotate(image, angle, interpolation=mode)
        # torchvision's angle is clockwise here
        affine = F.affine(image, angle=-20.0, translate=[3, -2], scale=1.2, shear=[8.0, 0.0], interpolation=mode)
        yield f"affine.{name}", affine
    for factor in (0.6, 1.4):
        yield f"brightness.{factor}", F.adjust_brightness(image, factor)
        yield f"contrast.{factor}", F.adjust_contrast(image, factor)
        yield f"saturation.{factor}", F.adjust_saturation(image, factor)
        yield f"sharpness.{factor}", F.adjust_sharpness(image, factor)
    for shift in (-0.3, 0.1):
        yield f"hue.{shift}", F.adjust_hue(image, shift)
    for sigma in (0.3, 1.7):
        yield f"blur.{sigma}", F.gaussian_blur(image, [5, 5], [sigma, sigma])
    yield "posterize.3", F.posterize(image, 3)
    yield "solarize.0.4", F.solarize(image, 0.4 * 255)
    yield "autocontrast", F.autocontrast(image // 2 + 30)
    yield "equalize", F.equalize(image)
    shear = torch.rad2deg(torch.atan(torch.tensor(0.25))).item()
    corner = dict(angle=0.0, translate=[0, 0], scale=1.0, center=[0, 0])
    yield "shear_x.0.25", F.affine(image, shear=[shear, 0.0], **corner)
    yield "shear_y.0.25", F.affine(image, shear=[0.0, shear], **corner)
    yield "translate_x.-5", F.affine(image, angle=0.0, translate=[-5, 0], scale=1.0, shear=[0.0, 0.0])
    yield "translate_y.4", F.affine(image, angle=0.0, translate=[0, 4], scale=1.0, shear=[0.0, 0.0])
    # rows 3 to 16, columns 5 to 23
    crop = F.resized_crop(image, top=3, left=5, height=13, width=18, size=[SIZE, SIZE], antialias=True)
    yield "resized_crop", crop
    # parts of an image that is larger than what they become: top, left, height, width
    for box in ((0, 0, SIZE, SIZE), (3, 5, 13, 18), (2, 0, 22, 17), (9, 14, 7, 6)):
        part = F.resized_crop(image, *box, size=[SMALL, SMALL], antialias=True)
        yield f"reduced.{'.'.join(map(str, box))}", part


def main():
    source = image()
    tensors = {"image": source, **dict(cases(source))}
    tensors = {name: tensor.permute(1, 2, 0).contiguous() for name, tensor in tensors.items()}
    save_file(tensors, Path(__file__).with_name("augmentations.safetensors"))


if __name__ == "__main__":
    main()
