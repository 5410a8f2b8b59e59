#!/usr/bin/env python3
"""Training options by PyTorch, torchvision and timm, beside this file: training_options.safetensors and
layer_decay.json.

    python tests/reference/make_training_options.py

- `mixup.*`, `cutmix.*`: a batch of images [N, SIZE, SIZE, 3] and its labels, mixed by torchvision v2's transforms with
  the λ (and the center of the rectangle) in the name.
- `soft.*`: cross entropy with probabilities as targets, with class weights, label smoothing and both; binary cross
  entropy; each with the gradient of the logits.
- `ema.*`: weights of a network of one linear layer and a batch norm in each step, and timm's ModelEmaV2 of them.
- `layer_decay.json`: the learning-rate scale of every parameter of timm's models with layer decay DECAY.
"""

import json
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.optim import param_groups_layer_decay
from timm.utils import ModelEmaV2
from torchvision.transforms import v2

N, SIZE, CLASSES = 5, 12, 3
DECAY = 0.75


def batch():
    """Other waves in each image and channel, over all levels."""
    n, channel, y, x = torch.meshgrid(*(torch.arange(k) for k in (N, 3, SIZE, SIZE)), indexing="ij")
    levels = (x * (7 + n) + y * (3 + 2 * channel) + x * y * n + 40 * channel) % 256
    return levels.float(), torch.tensor([0, 2, 1, 1, 2])


def mixed(transform, params):
    """What the transform makes of the batch with these parameters in place of random ones."""
    transform.make_params = lambda _: params
    images, labels = transform(*batch())
    return images.permute(0, 2, 3, 1).contiguous(), labels


def box(lam, row, column):
    """The box of torchvision's CutMix.make_params, given its random numbers."""
    half = int(0.5 * (1 - lam) ** 0.5 * SIZE)
    x1, x2 = max(column - half, 0), min(column + half, SIZE)
    y1, y2 = max(row - half, 0), min(row + half, SIZE)
    return dict(box=(x1, y1, x2, y2), lam_adjusted=1 - (x2 - x1) * (y2 - y1) / SIZE**2)


def mixes():
    tensors = {"mix.images": batch()[0].permute(0, 2, 3, 1).contiguous(), "mix.labels": batch()[1]}
    for lam in (0.0, 0.3, 0.95):
        images, labels = mixed(v2.MixUp(num_classes=CLASSES), dict(lam=lam))
        tensors |= {f"mixup.{lam}.images": images, f"mixup.{lam}.labels": labels}
    for lam, row, column in ((0.4, 5, 7), (0.1, 1, 10), (0.999, 3, 3)):
        images, labels = mixed(v2.CutMix(num_classes=CLASSES), box(lam, row, column))
        tensors |= {f"cutmix.{lam}.{row}.{column}.images": images, f"cutmix.{lam}.{row}.{column}.labels": labels}
    return tensors


def losses():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(7, 4, generator=generator, requires_grad=True)
    targets = torch.softmax(2 * torch.randn(7, 4, generator=generator), 1)
    targets[0] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    weights = torch.rand(4, generator=generator) + 0.3
    tensors = {"soft.z": z.detach(), "soft.t": targets, "soft.w": weights}
    cases = dict(plain={}, weighted=dict(weight=weights), smooth=dict(label_smoothing=0.1))
    cases["both"] = cases["weighted"] | cases["smooth"]
    cases = {name: F.cross_entropy(z, targets, **options) for name, options in cases.items()}
    cases["bce"] = F.binary_cross_entropy_with_logits(z, targets, pos_weight=weights)
    for name, loss in cases.items():
        tensors[f"soft.{name}.loss"] = loss.detach()
        tensors[f"soft.{name}.gz"] = torch.autograd.grad(loss, z, retain_graph=True)[0]
    return tensors


def averages():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    average, optimizer = ModelEmaV2(model, decay=0.9), torch.optim.SGD(model.parameters(), lr=0.5)
    tensors = {}

    def put(what, step, model):
        state = model.state_dict()
        for name in ("0.weight", "0.bias", "1.running_mean", "1.running_var"):
            tensors[f"ema.{what}.{step}.{name}"] = state[name].clone()

    put("own", 0, model)
    for step in range(1, 6):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).pow(3).mean().backward()
        optimizer.step()
        average.update(model)
        put("own", step, model)
        put("average", step, average.module)
    return tensors


def scales(name, options):
    model = timm.create_model(name, num_classes=7, **options)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = param_groups_layer_decay(model, layer_decay=DECAY)
    return {names[id(parameter)]: group["lr_scale"] for group in groups for parameter in group["params"]}


def main():
    folder = Path(__file__).parent
    save_file(mixes() | losses() | averages(), folder / "training_options.safetensors")
    models = {
        "vit_tiny": scales("vit_tiny_patch16_224", dict(img_size=32)),
        "deit_small": scales("deit_small_patch16_224", dict(img_size=32)),
        "resnet18": scales("resnet18", {}),
        "resnet50": scales("resnet50", {}),
    }
    source = f"timm {timm.__version__}, layer decay {DECAY}"
    text = json.dumps(dict(source=source, decay=DECAY, models=models), indent=0)
    (folder / "layer_decay.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
