"""Makes matched_merges.json and matched_merges.safetensors: ZipIt! and PLeaS.

    python make_matched_merges.py OUT_DIR [ZIPIT]          # needs torch torchvision safetensors numpy scipy

ZIPIT is a checkout of https://github.com/gstoica27/ZipIt, whose `match_tensors_zipit` computes, in f64,

- matched_merges.json: the groups of units for random correlation matrices of two to four sources, and
- the matching of all layers of two ResNet-18 of width 2 in matched_merges.safetensors, on the images there.

Networks are drawn until every unit varies. The merged networks are then made here: ZipIt's from dense matrices M and U for each layer; PLeaS's from SciPy's linear
assignment of activations and NumPy's `lstsq` of every layer with rows for the ridge below those of the images. Without
ZIPIT the numbers of the authors' function are read from the files that are there, so that the rest can be checked.

Budgets of less than one merge are avoided: the authors' function allows one then, MedMerge none.
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from scipy.optimize import linear_sum_assignment
from torch import nn
from torchvision.models import resnet18

HERE = Path(__file__).parent
WIDTH, CLASSES, SIZE, IMAGES, RIDGE, ALPHA, BETA = 2, 3, 12, 6, 1e-3, 0.5, 1.0
OUT = Path(sys.argv[1])
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def authors():
    sys.path.insert(0, sys.argv[2])
    from matching_functions import match_tensors_zipit

    return match_tensors_zipit


def groups(unmerge, sources):
    """The merged unit of each unit, and the number of units of each merged unit."""
    merged = unmerge.argmax(1).reshape(sources, -1)
    return merged.tolist(), unmerge.sum(0).int().tolist()


def correlated(sources, units, rng):
    """A correlation matrix in which units of different sources resemble each other, rounded."""
    n = sources * units
    x = rng.standard_normal((n, 2 * n)) + 0.4 * rng.standard_normal((units, 2 * n))[np.arange(n) % units]
    return np.corrcoef(x).round(5)


def cases(match):
    rng = np.random.default_rng(5)
    for sources, units in [(2, 5), (2, 8), (2, 12), (3, 6), (4, 5)]:
        for alpha, beta in [(1.0, 1.0), (0.3, 1.0), (0.0001, 1.0), (0.7, 0.6)]:
            correlations = correlated(sources, units, rng)
            _, unmerge = match({"cossim": torch.tensor(correlations)}, r=1 - 1 / sources, a=alpha, b=beta)
            merged, counts = groups(unmerge, sources)
            yield {"sources": sources, "units": units, "alpha": alpha, "beta": beta,
                   "correlations": correlations.flatten().tolist(), "merged": merged, "counts": counts}


def network(state):
    """torchvision's ResNet-18 of another width, with a small stem."""
    net = resnet18(num_classes=CLASSES)
    net.conv1, net.bn1, net.maxpool = nn.Conv2d(3, WIDTH, 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.Identity()
    net.inplanes, block = WIDTH, type(net.layer1[0])
    for i in range(4):
        setattr(net, f"layer{i + 1}", net._make_layer(block, WIDTH << i, 2, min(i, 1) + 1))
    net.fc = nn.Linear(8 * WIDTH, CLASSES)
    net.load_state_dict(state, strict=False)
    return net.double().eval()


def inputs(net, x):
    """What enters each convolution, the pool and the classifier."""
    seen, handles = {}, []
    for name, layer in net.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear, nn.AdaptiveAvgPool2d)):
            keep = lambda _, args, name=name: seen.__setitem__(name, args[0].detach())
            handles.append(layer.register_forward_pre_hook(keep))
    net(x)
    for handle in handles:
        handle.remove()
    return seen


def sets():
    """Sets of units: the name of the layer whose input shows them, the layers (with norm) that make them, the layers
    that read them."""
    stream, readers = [("conv1", "bn1")], []
    for stage in range(1, 5):
        for i in range(2):
            block = f"layer{stage}.{i}"
            readers.append(f"{block}.conv1")
            if stage > 1 and i == 0:
                readers.append(f"{block}.downsample.0")
                yield f"{block}.downsample.0", stream, readers
                stream, readers = [(f"{block}.downsample.0", f"{block}.downsample.1")], []
            yield f"{block}.conv2", [(f"{block}.conv1", f"{block}.bn1")], [f"{block}.conv2"]
            stream.append((f"{block}.conv2", f"{block}.bn2"))
    yield "avgpool", stream, readers + ["fc"]


def rows(x):
    return x.transpose(0, 1).flatten(1) if x.dim() == 4 else x.T


def dense(values, n):
    matrix = torch.zeros(n, n)
    matrix[torch.arange(n), values] = 1
    return matrix


def apply_sets(states, maps):
    """Each source's tensors after M_i where units are made and U_i where they are read; maps[set] is a list of (M_i, U_i)."""
    result = [dict(state) for state in states]
    for shown, makers, readers in sets():
        for state, (m, u) in zip(result, maps[shown]):
            for conv, norm in makers:
                for name in [f"{conv}.weight"] + [f"{norm}.{what}" for what in ("weight", "bias", "running_mean", "running_var")]:
                    state[name] = torch.tensordot(m, state[name], 1)
            for reader in readers:
                state[f"{reader}.weight"] = torch.einsum("oi...,iu->ou...", state[f"{reader}.weight"], u)
    return result


def zipit(match, states, seen, old):
    maps, found = {}, {}
    for shown, _, _ in sets():
        features = torch.cat([rows(of[shown]) for of in seen])
        if match is None:
            merged, n = torch.tensor(old[shown]), features.shape[0] // 2
            unmerge = torch.zeros(2 * n, n)
            unmerge[torch.arange(2 * n), merged.flatten()] = 1
        else:
            cov = torch.cov(features, correction=0)
            assert cov.diagonal().min() > 1e-6, "a unit is constant"
            _, unmerge = match({"covariance": cov.clone()}, r=0.5, a=ALPHA, b=BETA)
        unmerge = unmerge.double()
        found[shown] = groups(unmerge, 2)[0]
        merge = unmerge / unmerge.sum(0, keepdim=True)
        maps[shown] = list(zip(merge.T.chunk(2, 1), unmerge.chunk(2, 0)))
    mapped = apply_sets(states, maps)
    merged = {name: sum(state[name] for state in mapped) for name in mapped[0]}
    for name in ("fc.weight", "fc.bias"):
        merged[name] = merged[name] / 2
    return merged, found


def pleas(states, seen, x):
    maps = {}
    for shown, _, _ in sets():
        a, b = [rows(of[shown]) for of in seen]
        _, order = linear_sum_assignment((a @ b.T).numpy(), maximize=True)
        p = dense(torch.tensor(order), len(order))
        maps[shown] = [(torch.eye(len(order)),) * 2, (p, p.T)]
    aligned = apply_sets(states, maps)
    merged = {name: (aligned[0][name] + aligned[1][name]) / 2 for name in aligned[0]}
    nets = [network(state) for state in aligned]
    entering = [inputs(net, x) for net in nets]
    for name, layer in nets[0].named_modules():
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        z, y = [], 0
        for net, of in zip(nets, entering):
            layer, entered = net.get_submodule(name), of[name]
            y = y + layer(entered).detach() / 2
            if isinstance(layer, nn.Conv2d):
                patches = F.unfold(entered, layer.kernel_size, padding=layer.padding, stride=layer.stride)
                z.append(patches.transpose(1, 2).flatten(0, 1))
            else:
                z.append(torch.cat([entered, torch.ones(len(entered), 1)], 1))
        y = y.permute(0, 2, 3, 1).flatten(0, 2) if y.dim() == 4 else y
        z = (sum(z) / 2).numpy()
        mean = merged[f"{name}.weight"].flatten(1)
        if isinstance(layer, nn.Linear):
            mean = torch.cat([mean, merged[f"{name}.bias"][:, None]], 1)
        diagonal = (z**2).sum(0)
        ridge = np.diag(np.sqrt(np.where(diagonal == 0, 1, RIDGE * diagonal)))
        left, right = np.concatenate([z, ridge]), np.concatenate([y.numpy(), ridge @ mean.numpy().T])
        fitted = torch.from_numpy(np.linalg.lstsq(left, right, rcond=None)[0].T)
        shape = merged[f"{name}.weight"].shape
        if isinstance(layer, nn.Linear):
            merged[f"{name}.bias"], fitted = fitted[:, -1], fitted[:, :-1]
        merged[f"{name}.weight"] = fitted.reshape(shape)
    return merged


def source(rng):
    """The tensors of a network, exact in f32."""
    state = {}
    for name, t in network({}).state_dict().items():
        u = rng.uniform(-1, 1, t.shape)
        if name.endswith("running_var"):
            v = 1 + 0.5 * u
        elif t.dim() == 1 and name.endswith("weight"):
            v = 1 + 0.3 * u
        elif t.dim() == 1:
            v = 0.4 * u + (0.4 if name.endswith("bias") else 0)
        else:
            v = u * np.sqrt(6 / max(t.numel() / max(len(t), 1), 1)) if t.dim() else None
        if v is not None and t.is_floating_point():
            state[name] = torch.from_numpy(v.astype(np.float32)).double()
    return state


def varies(net_inputs):
    return all(rows(net_inputs[shown]).std(1).min() > 1e-2 for shown, _, _ in sets())


rng = np.random.default_rng(1)
pixels = rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
x = torch.from_numpy((pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).double()
states, seen = [], []
while len(states) < 2:
    state = source(rng)
    entering = inputs(network(state), x)
    if varies(entering):
        states.append(state)
        seen.append(entering)
match, path = (authors() if len(sys.argv) > 2 else None), OUT / "matched_merges.json"
old = json.loads((HERE / "matched_merges.json").read_text()) if match is None else None
merged, found = zipit(match, states, seen, old and old["layers"])
out = {f"source.{i}.{name}": t.numpy() for i, state in enumerate(states) for name, t in state.items()}
out |= {f"zipit.{name}": t.numpy() for name, t in merged.items()}
out |= {f"pleas.{name}": t.numpy() for name, t in pleas(states, seen, x).items()}
single = {name: np.array(t, np.float32, order="C") for name, t in sorted(out.items())}
save_file(single | {"pixels": pixels}, OUT / "matched_merges.safetensors")
path.write_text(json.dumps({"matrices": list(cases(match)) if match else old["matrices"], "layers": found}) + "\n")
