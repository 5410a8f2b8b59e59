"""Makes training_steps.json: one training step of each backbone in f64 by PyTorch, torchvision and timm.

    python make_training_steps.py OUT_DIR          # needs torch torchvision timm

The training steps of backbones.json, in f32 with weights that follow a sine, cannot be held against anything for
ResNet-50 and DenseNet-121: batch norm over 16 values of nearly equal channels amplifies rounding errors, so that
PyTorch's own channels-last kernels miss its default ones by 1.8 of 4.7 in a logit and by a factor of 14 in a gradient
norm (DenseNet-121: by 0.57 of 1.6, and 12). Here the weights are pseudo-random numbers (SplitMix64 of position and
index, exact in f32), the images those of backbones.json, and the step is in f64, so that it is defined to many digits.
"""
import json, math, sys
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
import torchvision


def uniform(j, count):
    """Numbers in [-1, 1) of 24 bits, from the upper bits of SplitMix64 of j * 2^32 + i."""
    with np.errstate(over="ignore"):
        z = (np.uint64(j << 32) + np.arange(count, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def fill(model):
    """Float entries of state_dict() in sorted name order, j their position, u = uniform(j, numel): running_var and 1-D
    weights 1 + 0.1 u; other 1-D and 3-D entries 0.1 u; the rest u * sqrt(6 / fan_in), fan_in = numel / shape[0]."""
    state = model.state_dict()
    for j, name in enumerate(sorted(n for n, t in state.items() if t.is_floating_point())):
        t = state[name]
        u = torch.from_numpy(uniform(j, t.numel())).reshape(t.shape)
        if name.endswith("running_var") or (t.dim() == 1 and name.endswith("weight")):
            v = 1 + 0.1 * u
        elif t.dim() in (0, 1, 3):
            v = 0.1 * u
        else:
            v = u * math.sqrt(6 / (t.numel() / t.shape[0]))
        state[name] = v.float().double()
    model.double().load_state_dict(state)
    return model


def image(n, size):
    i = torch.arange(n * 3 * size * size, dtype=torch.float64)
    return (torch.sin(0.05 * i) + 0.5 * torch.cos(0.0137 * i)).reshape(n, 3, size, size).float().double()


def step(model, size):
    fill(model).train()
    logits = model(image(4, size))
    loss = F.cross_entropy(logits, torch.tensor([0, 1, 2, 3]))
    loss.backward()
    statistics = (x for x in model.named_buffers() if x[0].endswith(("running_mean", "running_var")))
    return dict(
        loss=loss.item(),
        logits=logits.tolist(),
        grad_l2={n: p.grad.norm().item() for n, p in model.named_parameters()},
        running_mean_l2={n: b.norm().item() for n, b in statistics},
    )


models = {n: step(getattr(torchvision.models, n)(num_classes=7), 64)
          for n in ("resnet18", "resnet34", "resnet50", "resnet101", "densenet121")}
models["vit_tiny_patch16_224"] = step(timm.create_model("vit_tiny_patch16_224", num_classes=7), 224)
models["deit_small_patch16_224"] = step(timm.create_model("deit_small_patch16_224", num_classes=7, img_size=32), 32)
source = f"torchvision {torchvision.__version__}, timm {timm.__version__}, torch {torch.__version__}, f64"
json.dump(dict(source=source, models=models), open(Path(sys.argv[1]) / "training_steps.json", "w"), indent=0)
