"""Makes measured_merges.safetensors: Fisher information, Fisher merging and RegMean of two small ResNets by PyTorch and
NumPy, in f64.

    python make_measured_merges.py OUT_DIR [SEED]          # needs torch torchvision safetensors numpy

The network is torchvision's ResNet-18 with 2 channels in its first stage, a 3x3 stem and no pool. Fisher information
is of every image and every class, each by an own backward pass of autograd. RegMean unfolds what goes into each
convolution and solves the normal equations with NumPy; inputs that are zero for all images and sources, of which the
equations say nothing, get the mean weight.
"""
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock

WIDTH, CLASSES, SIZE, IMAGES, ALPHA, FLOOR = 2, 3, 12, 6, 0.9, 1e-6
OUT = Path(sys.argv[1])
rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        channels = WIDTH
        for stage in range(4):
            out, stride = WIDTH << stage, 1 if stage == 0 else 2
            down = None
            if stride != 1:
                down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            blocks = nn.Sequential(BasicBlock(channels, out, stride, down), BasicBlock(out, out))
            setattr(self, f"layer{stage + 1}", blocks)
            channels = out
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def source():
    """A network whose numbers are exact in f32."""
    net = Net()
    state = {}
    for name, t in net.state_dict().items():
        if not t.is_floating_point():
            state[name] = t
            continue
        u = rng.uniform(-1, 1, t.shape)
        if name.endswith("running_var"):
            v = 1 + 0.5 * u
        elif t.dim() == 1 and name.endswith("weight"):
            v = 1 + 0.3 * u
        elif t.dim() == 1:
            v = 0.2 * u
        else:
            v = u * np.sqrt(6 / (t.numel() / t.shape[0]))
        state[name] = torch.from_numpy(np.asarray(v).astype(np.float32))
    net.load_state_dict(state)
    return net.double().eval()


def fisher(net, x):
    total = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for image in x:
        log_p = F.log_softmax(net(image[None]), 1)[0]
        for y in range(CLASSES):
            grads = torch.autograd.grad(log_p[y], list(net.parameters()), retain_graph=True)
            for (name, _), g in zip(net.named_parameters(), grads):
                total[name] += log_p[y].exp().detach() * g**2 / len(x)
    return total


def inputs(net, x):
    """The rows that each layer multiplies its kernels with, in PyTorch's order of a kernel's numbers."""
    seen, handles = {}, []
    for name, layer in net.named_modules():
        def hook(_, args, name=name, layer=layer):
            if isinstance(layer, nn.Conv2d):
                rows = F.unfold(args[0], layer.kernel_size, padding=layer.padding, stride=layer.stride)
                seen[name] = rows.transpose(1, 2).flatten(0, 1).detach().numpy()
            else:
                seen[name] = args[0].detach().numpy()
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            handles.append(layer.register_forward_pre_hook(hook))
    net(x)
    for handle in handles:
        handle.remove()
    return seen


def regmean(xs, ws):
    """xs: rows of each source [n, in]; ws: weights [out, in]."""
    scale = lambda g: ALPHA * g + (1 - ALPHA) * np.diag(np.diag(g))
    grams = [scale(x.T @ x) for x in xs]
    total = sum(grams)
    live = np.diag(total) > 0
    right = sum(g @ w.T for g, w in zip(grams, ws))
    merged = np.mean(ws, 0).T
    merged[live] = np.linalg.solve(total[np.ix_(live, live)], right[live])
    return merged.T, int((~live).sum())


nets = [source(), source()]
pixels = rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
x = torch.from_numpy((pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).double()
out = {"pixels": pixels}
for i, net in enumerate(nets):
    for name, t in net.state_dict().items():
        out[f"source.{i}.{name}"] = t.numpy().astype(np.int64 if not t.is_floating_point() else np.float32)
    out[f"logits.{i}"] = net(x).detach().numpy()

information = [fisher(net, x) for net in nets]
for i, of in enumerate(information):
    out.update({f"fisher.{i}.{name}": t.numpy() for name, t in of.items()})
for name, _ in nets[0].named_parameters():
    shares = [of[name].clamp(min=FLOOR) for of in information]
    theta = [dict(net.named_parameters())[name].detach() for net in nets]
    out[f"fisher_merged.{name}"] = (sum(s * t for s, t in zip(shares, theta)) / sum(shares)).numpy()

seen = [inputs(net, x) for net in nets]
dead = 0
for name in seen[0]:
    weights = [net.state_dict()[f"{name}.weight"].numpy() for net in nets]
    rows = [w.reshape(len(w), -1) for w in weights]
    merged, without = regmean([of[name] for of in seen], rows)
    dead += without
    out[f"regmean.{name}.weight"] = merged.reshape(weights[0].shape)
print(f"{dead} inputs never occur")
single = lambda v: v.astype(np.float32) if np.asarray(v).dtype == np.float64 else v
save_file({k: np.array(single(v), order="C") for k, v in sorted(out.items())}, OUT / "measured_merges.safetensors")
