#!/usr/bin/env python3
"""Training without labels by PyTorch, beside this file: unlabeled.safetensors and unlabeled_steps.json.

    python tests/reference/make_unlabeled.py

- `entropy.*`: mean entropy of the softmax (`single`) and of the sigmoid (`multi`) of logits, with gradients.
- `distill.*`: T² · KLDivLoss of a student's logits and the mean probabilities or logits of one or three teachers, with
  gradients; of sigmoids, binary cross entropy minus that of the targets with themselves.
- `unlabeled_steps.json`: the loss and the gradient of one step, in f64, of small ResNets with the weights of
  make_training_steps.py: a student with two teachers, of which one takes images in another normalization; and
  coefficients of task vectors by layer, learned by entropy.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file

CLASSES, SIZE, IMAGES, WIDTH = 4, 12, 12, 8
TEMPERATURES = (1.0, 3.0)


def with_gradient(name, loss, z):
    return {f"{name}.loss": loss.detach(), f"{name}.gz": torch.autograd.grad(loss, z)[0]}


def logits(seed):
    z = 2 * torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(seed))
    z[0] = torch.tensor([90.0, -90.0, 0.0, 3.0])
    return z


def entropies():
    z = logits(0).requires_grad_()
    single = torch.distributions.Categorical(logits=z).entropy().mean()
    multi = torch.distributions.Bernoulli(logits=z).entropy().mean()
    tensors = {"entropy.z": z.detach()}
    return tensors | with_gradient("entropy.single", single, z) | with_gradient("entropy.multi", multi, z)


def targets(teachers, temperature, of, squash):
    softened = [teacher / temperature for teacher in teachers]
    if of == "logits":
        return squash(torch.stack(softened).mean(0))
    return torch.stack([squash(z) for z in softened]).mean(0)


def single_loss(z, teachers, temperature, of):
    q = targets(teachers, temperature, of, lambda z: torch.softmax(z, 1))
    divergence = torch.nn.KLDivLoss(reduction="batchmean")(torch.log_softmax(z / temperature, 1), q)
    return temperature**2 * divergence


def multi_loss(z, teachers, temperature, of):
    q = targets(teachers, temperature, of, torch.sigmoid)
    own = F.binary_cross_entropy(q, q)
    return temperature**2 * (F.binary_cross_entropy_with_logits(z / temperature, q) - own)


def divergences():
    z = logits(1).requires_grad_()
    teachers = [logits(seed) for seed in (2, 3, 4)]
    tensors = {"distill.z": z.detach()} | {f"distill.t{i}": teacher for i, teacher in enumerate(teachers)}
    for count in (1, 3):
        for temperature in TEMPERATURES:
            for of in ("probabilities", "logits"):
                for name, loss in (("single", single_loss), ("multi", multi_loss)):
                    value = loss(z, teachers[:count], temperature, of)
                    tensors |= with_gradient(f"distill.{name}.{count}.{temperature}.{of}", value, z)
    return tensors


def uniform(j, count):
    """Numbers in [-1, 1) of 24 bits, from the upper bits of SplitMix64 of j * 2^32 + i."""
    with np.errstate(over="ignore"):
        z = (np.uint64(j << 32) + np.arange(count, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def weights(model, first):
    """As in make_training_steps.py, the positions j of names from `first` on."""
    state = model.state_dict()
    for j, name in enumerate(sorted(n for n, t in state.items() if t.is_floating_point())):
        t = state[name]
        u = torch.from_numpy(uniform(first + j, t.numel())).reshape(t.shape)
        if name.endswith("running_var") or (t.dim() == 1 and name.endswith("weight")):
            v = 1 + 0.1 * u
        elif t.dim() == 1:
            v = 0.1 * u
        else:
            v = u * math.sqrt(6 / (t.numel() / t.shape[0]))
        state[name] = v.float().double()
    return state


def resnet():
    model = torchvision.models.resnet18(num_classes=CLASSES)
    model.inplanes, block = WIDTH, type(model.layer1[0])
    model.conv1 = torch.nn.Conv2d(3, WIDTH, 3, 1, 1, bias=False)
    model.bn1, model.maxpool = torch.nn.BatchNorm2d(WIDTH), torch.nn.Identity()
    for i in range(4):
        setattr(model, f"layer{i + 1}", model._make_layer(block, WIDTH << i, 2, min(i, 1) + 1))
    model.fc = torch.nn.Linear(8 * WIDTH, CLASSES)
    return model.double()


def pixels():
    """Levels (7 n + 1) x + (3 n + 5) y + (n + 2) x y + 40 c modulo 256 of image n, row y, column x, channel c."""
    n, c, y, x = torch.meshgrid(*(torch.arange(k) for k in (IMAGES, 3, SIZE, SIZE)), indexing="ij")
    return ((7 * n + 1) * x + (3 * n + 5) * y + (n + 2) * x * y + 40 * c) % 256


def normalized(mean, std):
    return (pixels().double() / 255 - mean) / std


def model(first):
    made = resnet()
    made.load_state_dict(weights(made, first))
    return made


def distilled():
    student, teachers = model(0).train(), [model(1000).eval(), model(2000).eval()]
    with torch.no_grad():
        answers = [teachers[0](normalized(0.5, 0.5)), teachers[1](normalized(0.25, 0.75))]
    loss = single_loss(student(normalized(0.5, 0.5)), answers, 3.0, "probabilities")
    loss.backward()
    return dict(loss=loss.item(), grad_l2={n: p.grad.norm().item() for n, p in student.named_parameters()})


def layer(name):
    """The convolution whose coefficients a parameter has."""
    stem, _, _ = name.rpartition(".")
    return stem.replace("downsample.1", "downsample.0").replace("bn", "conv")


def adapted():
    """Sources differ from the base by a tenth of other weights; the head and the running statistics are the first's."""
    network = resnet().train()
    base, others = weights(network, 0), [weights(network, first) for first in (1000, 2000)]
    sources = [{n: (base[n] + 0.1 * other[n]).float().double() if other[n].is_floating_point() else other[n]
                for n in base} for other in others]
    names = [n for n, _ in network.named_parameters() if not n.startswith("fc.")]
    start = {name: torch.full((2,), 0.3, dtype=torch.float64, requires_grad=True) for name in map(layer, names)}
    state = dict(sources[0])
    for n in names:
        w = start[layer(n)]
        state[n] = base[n] + sum(w[i] * (sources[i][n] - base[n]) for i in range(2))
    z = torch.func.functional_call(network, state, normalized(0.5, 0.5))
    loss = torch.distributions.Categorical(logits=z).entropy().mean()
    loss.backward()
    return dict(loss=loss.item(), gradients={name: w.grad.tolist() for name, w in start.items()})


def main():
    folder = Path(__file__).parent
    save_file(entropies() | divergences(), folder / "unlabeled.safetensors")
    source = f"torch {torch.__version__}, torchvision {torchvision.__version__}, f64"
    steps = dict(source=source, distilled=distilled(), adapted=adapted())
    (folder / "unlabeled_steps.json").write_text(json.dumps(steps, indent=0) + "\n")


if __name__ == "__main__":
    main()
