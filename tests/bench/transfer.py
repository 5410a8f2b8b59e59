"""A part of experiments/benchmark/pbc.toml in PyTorch: one label budget, from the same source networks.

    for stage in ham10000_1 malaria_1 chest_1 …: medmerge export STAGE FOLDER/STAGE --to pytorch \\
        --experiment experiments/benchmark/pbc.toml
    python tests/bench/transfer.py DATA/pbc_bloodcells/labels.csv FOLDER --out torch.csv

Source networks are read from FOLDER/<source>_<network>/model.safetensors. Everything after them is done anew, with
PyTorch's layers, optimizer and random numbers: the choice of labeled images, heads, probes, LP-FT, the average, learning
merge weights, merging, fine-tuning. Writes a row `network,seed,model,macro_f1,accuracy` per model, as soon as it is known,
of the test images. Needs numpy, Pillow, safetensors, scikit-learn and torch.
"""

import argparse
import copy
import csv
import itertools
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, f1_score
from torch import nn
from torch.nn import functional as F

SIZE, WIDTH, BATCH, EPOCH_IMAGES, VAL_COUNT = 64, 32, 64, 640, 200
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
SOURCES = ("ham10000", "malaria", "chest")


class Block(nn.Module):
    """Two convolutions and a shortcut, with torchvision's names."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + shortcut)


class ResNet18(nn.Module):
    """torchvision's ResNet-18 with WIDTH in place of 64 channels."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        inputs = WIDTH
        for stage in range(4):
            outputs = WIDTH << stage
            first = Block(inputs, outputs, 1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, Block(outputs, outputs, 1)))
            inputs = outputs
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def read(path):
    """Images `[n, 3, SIZE, SIZE]` (u8) and labels of each split, and the number of classes."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    splits = {}
    for split in ("train", "val", "test"):
        of_split = [row for row in rows if row["split"] == split]
        paths = [Path(path).parent / row["image"] for row in of_split]
        images = (Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.BILINEAR) for path in paths)
        images = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
        splits[split] = images.contiguous(), torch.tensor([classes.index(row["label"]) for row in of_split])
    return splits, len(classes)


def kept(data, count, random):
    """About `count` images, in proportion to the classes, at least one of each."""
    images, labels = data
    of_class = [torch.nonzero(labels == label).flatten().numpy() for label in labels.unique()]
    number = [max(1, round(count * len(positions) / len(labels))) for positions in of_class]
    positions = np.concatenate([random.permutation(positions)[:n] for positions, n in zip(of_class, number)])
    return images[positions], labels[positions]


def scaled(images):
    return ((images.float() / 255 - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def draws(images, generator):
    """Positions of EPOCH_IMAGES images: all in random order, then in another one, and so on."""
    orders = [torch.randperm(images, generator=generator) for _ in range(-(-EPOCH_IMAGES // images))]
    return torch.cat(orders)[:EPOCH_IMAGES].split(BATCH)


def predictions(model, images):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(scaled(batch)).argmax(1) for batch in images.split(128)])


def scores(model, data):
    images, labels = data
    predicted = predictions(model, images)
    return f1_score(labels, predicted, average="macro", zero_division=0), accuracy_score(labels, predicted)


def fit(model, parameters, data, epochs, seed, lr=1e-3, decay=0.01, frozen=False):
    """Trains the parameters; leaves the model as it was after the epoch with the best validation macro F1."""
    images, labels = data["train"]
    generator = torch.Generator().manual_seed(seed)
    counts = torch.bincount(labels, minlength=data["classes"]).clamp(min=1)
    loss = nn.CrossEntropyLoss(weight=len(labels) / (data["classes"] * counts))
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, state = -1.0, None
    for _ in range(epochs):
        model.train(not frozen)
        for batch in draws(len(labels), generator):
            views = images[batch].clone()
            flipped = torch.rand(len(batch), generator=generator) < 0.5
            views[flipped] = views[flipped].flip(-1)
            optimizer.zero_grad(set_to_none=True)
            loss(model(scaled(views)), labels[batch]).backward()
            optimizer.step()
        schedule.step()
        score = scores(model, data["val"])[0]
        if score > best:
            best, state = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    return model


def probe(tensors, data, seed):
    """A new head on a frozen backbone."""
    torch.manual_seed(seed)
    model = ResNet18(data["classes"]).to(memory_format=torch.channels_last)
    model.load_state_dict({name: t for name, t in tensors.items() if not name.startswith("fc.")}, strict=False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("fc."))
    fit(model, model.fc.parameters(), data, 10, seed, frozen=True)
    return model.requires_grad_(True)


def finetune(start, data, epochs, seed, lr=1e-3):
    model = copy.deepcopy(start)
    return fit(model, model.parameters(), data, epochs, seed, lr)


def reestimate(model, images):
    """Running statistics: the mean over batches of training images."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    with torch.no_grad():
        for batch in images[torch.randperm(len(images))].split(128):
            model(scaled(batch))
    for norm in norms:
        norm.momentum = 0.1
    return model


def average(models, data):
    merged = copy.deepcopy(models[0])
    states = [model.state_dict() for model in models]
    floats = {name: torch.stack([state[name] for state in states]).mean(0)
              for name, tensor in states[0].items() if tensor.is_floating_point()}
    merged.load_state_dict(floats, strict=False)
    return reestimate(merged, data["train"][0])


class LearnedMerge(nn.Module):
    """W[k] = Σ_i w_i[k] W_i[k] for each kernel k and the batch norm that follows; starts at the first model."""

    def __init__(self, models):
        super().__init__()
        self.net = copy.deepcopy(models[0]).requires_grad_(False)
        self.net.fc.requires_grad_(True)
        layers = [name for name, module in self.net.named_modules() if isinstance(module, nn.Conv2d)]
        states = [model.state_dict() for model in models]
        self.weights = nn.ParameterDict()
        self.stacked = {}
        for layer in layers:
            norm = layer.replace("conv", "bn") if "conv" in layer else layer[:-1] + "1"
            names = [f"{layer}.weight", f"{norm}.weight", f"{norm}.bias"]
            self.stacked[layer] = {name: torch.stack([state[name] for state in states]) for name in names}
            start = torch.zeros(len(models), len(states[0][names[0]]))
            start[0] = 1
            self.weights[layer.replace(".", "/")] = nn.Parameter(start)

    def kernels(self):
        merged = {}
        for layer, stacked in self.stacked.items():
            weights = self.weights[layer.replace(".", "/")]
            for name, tensors in stacked.items():
                shape = weights.shape + (1,) * (tensors.dim() - 2)
                merged[name] = (weights.view(shape) * tensors).sum(0)
        return merged

    def forward(self, x):
        return torch.func.functional_call(self.net, self.kernels(), x)

    def folded(self, images):
        model = copy.deepcopy(self.net).requires_grad_(True)
        model.load_state_dict({name: tensor.detach() for name, tensor in self.kernels().items()}, strict=False)
        return reestimate(model, images)


def learned_merge(models, data, seed):
    merge = LearnedMerge(models)
    trained = [parameter for parameter in merge.parameters() if parameter.requires_grad]
    fit(merge, trained, data, 8, seed, lr=1e-2, decay=0.0)
    return merge.folded(data["train"][0])


def models(sources, data, seed):
    """The rows of the table."""
    torch.manual_seed(seed)
    scratch = ResNet18(data["classes"]).to(memory_format=torch.channels_last)
    yield "scratch", fit(scratch, scratch.parameters(), data, 20, seed)
    probes = [probe(tensors, data, seed) for tensors in sources]
    for name, probed in zip("ABC", probes):
        yield f"LP-FT {name}", finetune(probed, data, 20, seed)
    yield "LP-FT A, rate 3e-3", finetune(probes[0], data, 20, seed, lr=3e-3)
    yield "average + FT", finetune(average(probes, data), data, 20, seed)
    merged = learned_merge(probes, data, seed)
    yield "MedMerge", merged
    yield "MedMerge + FT", finetune(merged, data, 12, seed)
    yield "MedMerge + FT, rate 3e-3", finetune(merged, data, 12, seed, lr=3e-3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv")
    parser.add_argument("sources", type=Path)
    parser.add_argument("--out", required=True)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    splits, classes = read(arguments.csv)
    with open(arguments.out, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["network", "seed", "model", "macro_f1", "accuracy"])
        for network, seed in itertools.product(arguments.networks, arguments.seeds):
            random = np.random.default_rng(seed)
            data = {
                "classes": classes,
                "train": kept(splits["train"], arguments.labels, random),
                "val": kept(splits["val"], VAL_COUNT, random),
            }
            files = [arguments.sources / f"{name}_{network}" / "model.safetensors" for name in SOURCES]
            for name, model in models([load_file(path) for path in files], data, seed):
                rows.writerow([network, seed, name, *scores(model, splits["test"])])
                file.flush()
                print(network, seed, name, flush=True)


if __name__ == "__main__":
    main()
