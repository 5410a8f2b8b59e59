"""Makes glmc.safetensors: three small vision transformers, and their merge by generalized linear mode connectivity
(arXiv 2506.22712) with weights 2, 1 and 1, in f64 by NumPy and SciPy's `svd` and `linear_sum_assignment`.

    python make_glmc.py OUT_DIR          # needs numpy scipy safetensors

The second network is the first with its stream rotated, its heads and hidden units shuffled, its heads in other bases,
plus noise; the third is another network. Of the merged attention layers the products that do not depend on a basis are
stored: queries with keys, and values with the projection, per head.
"""
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.linalg import svd
from scipy.optimize import linear_sum_assignment

D, HEADS, HIDDEN, BLOCKS, TOKENS, PIXELS, CLASSES = 16, 2, 24, 2, 5, (3, 2, 2), 3
SIZE, TOLERANCE, ROUNDS = D // HEADS, 1e-4, 30
WEIGHTS = np.array([2, 1, 1]) / 4
rng = np.random.default_rng(11)
ONES = np.full((D, D), 1 / D)
CENTER = np.eye(D) - ONES


def random_network():
    net = {}

    def add(name, *shape, scale=0.3):
        net[name] = scale * rng.standard_normal(shape)

    def norm(name):
        net[name + ".weight"], net[name + ".bias"] = rng.uniform(0.6, 1.4, D), 0.2 * rng.standard_normal(D)

    def linear(name, inputs, outputs):
        add(name + ".weight", outputs, inputs)
        add(name + ".bias", outputs)

    add("cls_token", 1, 1, D)
    add("pos_embed", 1, TOKENS, D)
    add("patch_embed.proj.weight", D, *PIXELS)
    add("patch_embed.proj.bias", D)
    for i in range(BLOCKS):
        b = f"blocks.{i}."
        norm(b + "norm1")
        linear(b + "attn.qkv", D, 3 * D)
        linear(b + "attn.proj", D, D)
        norm(b + "norm2")
        linear(b + "mlp.fc1", D, HIDDEN)
        linear(b + "mlp.fc2", HIDDEN, D)
    norm("norm")
    linear("head", D, CLASSES)
    return net


def heads_of(net, b):
    """Queries with their bias, keys, values and columns of the projection of each head."""
    qkv, bias, proj = net[b + "attn.qkv.weight"], net[b + "attn.qkv.bias"], net[b + "attn.proj.weight"]
    for h in range(HEADS):
        q, k, v = (slice(part * D + h * SIZE, part * D + (h + 1) * SIZE) for part in range(3))
        yield np.c_[qkv[q], bias[q]], qkv[k], qkv[v], proj[:, h * SIZE : (h + 1) * SIZE]


def canonical(net):
    """Norms folded into what follows them, the stream centered, no biases of keys and values, balanced heads. Returned
    as what is written to the stream by fixed units, the classifier, and the units of each block."""

    def folded(norm, layer):
        w, c = net[layer + ".weight"], net[layer + ".bias"]
        return w * net[norm + ".weight"] @ CENTER, c + w @ net[norm + ".bias"]

    out = {"cls_token": net["cls_token"][0] @ CENTER, "pos_embed": net["pos_embed"][0] @ CENTER}
    out["patch_embed.proj.weight"] = net["patch_embed.proj.weight"].reshape(D, -1).T @ CENTER
    out["patch_embed.proj.bias"] = net["patch_embed.proj.bias"][None] @ CENTER
    blocks = []
    for i in range(BLOCKS):
        b = f"blocks.{i}."
        inner = dict(net)
        inner[b + "attn.qkv.weight"], inner[b + "attn.qkv.bias"] = folded(b + "norm1", b + "attn.qkv")
        inner[b + "attn.proj.weight"] = CENTER @ net[b + "attn.proj.weight"]
        of_values = net[b + "attn.proj.weight"] @ inner[b + "attn.qkv.bias"][2 * D :]
        out[b + "attn.proj.bias"] = (net[b + "attn.proj.bias"] + of_values)[None] @ CENTER
        out[b + "mlp.fc2.bias"] = net[b + "mlp.fc2.bias"][None] @ CENTER
        heads = []
        for q, k, v, o in heads_of(inner, b):
            heads.append((balanced(q.T @ k), balanced(v.T @ o.T)))
        w1, c1 = folded(b + "norm2", b + "mlp.fc1")
        blocks.append((heads, np.c_[w1, (CENTER @ net[b + "mlp.fc2.weight"]).T, c1]))
    out["head.weight"], head_bias = folded("norm", "head")
    return out, head_bias, blocks


def balanced(product):
    u, s, vt = svd(product)
    u, root, vt = u[:, :SIZE], np.sqrt(s[:SIZE]), vt[:SIZE]
    return np.c_[(u * root).T[:, :D], root[:, None] * vt, (u * root).T[:, D:]]


def turned(units, q):
    """Units `[n, first side, second side, bias]` after the map of the stream."""
    return np.c_[units[:, :D] @ q.T, units[:, D : 2 * D] @ q.T, units[:, 2 * D :]]


def best_map(a, b):
    """The orthogonal R that maximizes <a, R b>, and the maximum."""
    u, s, vt = svd(a @ b.T)
    return u @ vt, s.sum()


def stream_map(m):
    """In an orthonormal basis of the complement of ones."""
    basis = svd(CENTER)[0][:, : D - 1]
    u, _, vt = svd(basis.T @ m @ basis)
    return basis @ u @ vt @ basis.T + ONES


def all_of(net):
    fixed, head_bias, blocks = net
    yield from fixed.values()
    yield head_bias
    for heads, hidden in blocks:
        yield hidden
        for pair in heads:
            yield from pair


def inner(a, b):
    return sum((x * y).sum() for x, y in zip(all_of(a), all_of(b)))


def rotated(net, q):
    fixed, head_bias, blocks = net
    blocks = [([tuple(turned(u, q) for u in pair) for pair in heads], turned(hidden, q)) for heads, hidden in blocks]
    return {name: rows @ q.T for name, rows in fixed.items()}, head_bias, blocks


def match_units(a, b):
    blocks = []
    for (heads_a, hidden_a), (heads_b, hidden_b) in zip(a[2], b[2]):
        order = linear_sum_assignment(hidden_a @ hidden_b.T, maximize=True)[1]
        maps = [[[best_map(x, y) for x, y in zip(p, o)] for o in heads_b] for p in heads_a]
        scores = [[sum(score for _, score in pair) for pair in row] for row in maps]
        partners = linear_sum_assignment(scores, maximize=True)[1]
        heads = [tuple(r @ u for (r, _), u in zip(maps[h][p], heads_b[p])) for h, p in enumerate(partners)]
        blocks.append((heads, hidden_b[order]))
    return b[0], b[1], blocks


def products(a, b, units):
    m = sum(a[0][name].T @ b[0][name] for name in a[0])
    if units:
        pairs = zip([x for h, u in a[2] for x in [u, *sum(h, ())]], [x for h, u in b[2] for x in [u, *sum(h, ())]])
        m = m + sum(x[:, p].T @ y[:, p] for x, y in pairs for p in (slice(D), slice(D, 2 * D)))
    return m


def align(a, b):
    scale = np.sqrt(inner(a, a) * inner(b, b))
    starts = [b, rotated(b, stream_map(products(a, b, False)))]
    b = max((match_units(a, start) for start in starts), key=lambda start: inner(a, start))
    print("starts at", inner(a, b) / scale)
    for number in range(ROUNDS):
        before = inner(a, b)
        b = match_units(a, rotated(b, stream_map(products(a, b, True))))
        if inner(a, b) - before <= TOLERANCE * scale:
            break
    print(number + 1, "rounds, to", inner(a, b) / scale, "last gain", (inner(a, b) - before) / scale)
    return b


def disguised(net):
    """The same function with other weights, in canonical form with heads in any basis."""
    fixed, head_bias, blocks = canonical(net)
    q = stream_map(CENTER @ rng.standard_normal((D, D)) @ CENTER)
    out = {f"{norm}.{part}": np.full(D, float(part == "weight")) for norm in norms() for part in ("weight", "bias")}
    for name, rows in fixed.items():
        rows = rows @ q.T
        out[name] = (rows.T if name == "patch_embed.proj.weight" else rows).reshape(net[name].shape)
    out["head.bias"] = head_bias
    for i, (heads, hidden) in enumerate(blocks):
        b = f"blocks.{i}."
        heads = [[turned(u, q) for u in heads[h]] for h in rng.permutation(HEADS)]
        maps = [[np.eye(SIZE) + 0.2 * rng.standard_normal((SIZE, SIZE)) for _ in range(2)] for _ in heads]
        first = [[g @ np.c_[u[:, :D], u[:, 2 * D :]] for g, u in zip(*pair)] for pair in zip(maps, heads)]
        second = [[np.linalg.inv(g).T @ u[:, D : 2 * D] for g, u in zip(*pair)] for pair in zip(maps, heads)]
        queries, values = (np.concatenate([pair[part] for pair in first]) for part in range(2))
        keys, written = (np.concatenate([pair[part] for pair in second]) for part in range(2))
        out[b + "attn.qkv.weight"] = np.concatenate([queries[:, :D], keys, values[:, :D]])
        out[b + "attn.qkv.bias"] = np.r_[queries[:, D], np.zeros(2 * D)]
        out[b + "attn.proj.weight"] = written.T
        hidden = turned(hidden, q)[rng.permutation(HIDDEN)]
        out[b + "mlp.fc1.weight"], out[b + "mlp.fc1.bias"] = hidden[:, :D], hidden[:, 2 * D]
        out[b + "mlp.fc2.weight"] = hidden[:, D : 2 * D].T
    return out


def norms():
    return [f"blocks.{i}.norm{j}" for i in range(BLOCKS) for j in (1, 2)] + ["norm"]


def f32(net):
    return {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in net.items()}


first = random_network()
second = {name: t + 0.05 * rng.standard_normal(t.shape) for name, t in disguised(first).items()}
sources = [f32(net) for net in (first, second, random_network())]
forms = [canonical({name: t.astype(np.float64) for name, t in source.items()}) for source in sources]
aligned = [forms[0]] + [align(forms[0], form) for form in forms[1:]]
merged = {}
for name in aligned[0][0]:
    merged[name] = sum(w * net[0][name] for w, net in zip(WEIGHTS, aligned))
merged["head.bias"] = sum(w * net[1] for w, net in zip(WEIGHTS, aligned))
for i in range(BLOCKS):
    blocks = [net[2][i] for net in aligned]
    merged[f"blocks.{i}.hidden"] = sum(w * hidden for w, (_, hidden) in zip(WEIGHTS, blocks))
    for h in range(HEADS):
        for part, what in enumerate(["qk", "ov"]):
            units = sum(w * heads[h][part] for w, (heads, _) in zip(WEIGHTS, blocks))
            merged[f"blocks.{i}.{what}.{h}"] = np.c_[units[:, :D], units[:, 2 * D :]].T @ units[:, D : 2 * D]
out = {f"source.{i}.{name}": t for i, source in enumerate(sources) for name, t in source.items()}
out |= {f"merged.{name}": np.ascontiguousarray(t, np.float64) for name, t in merged.items()}
save_file(out, Path(sys.argv[1]) / "glmc.safetensors")
