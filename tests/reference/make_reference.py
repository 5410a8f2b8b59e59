"""Makes the reference numbers of this folder: computed with PyTorch, torchvision, timm, scikit-learn and SciPy,
the project's own results are held against them. Run in a venv with:
torch torchvision timm scikit-learn scipy safetensors.

    python make_reference.py OUT_DIR [SEED]
"""
import json, sys, math
from pathlib import Path
import numpy as np
import torch, torchvision, timm, sklearn, scipy
from sklearn import metrics as skm
import torch.nn.functional as F
from safetensors.numpy import save_file

OUT = Path(sys.argv[1]); OUT.mkdir(parents=True, exist_ok=True)
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 0
torch.manual_seed(SEED); rng = np.random.default_rng(SEED)
torch.set_num_threads(2)

def save(name, arrays):
    """Writes OUT/name.safetensors; a number becomes a tensor of no dimensions."""
    save_file({k: np.array(v, order="C") for k, v in sorted(arrays.items())}, OUT / f"{name}.safetensors")

# ---------------------------------------------------------------- metrics
def ece(y, p, bins=15):
    conf = p.max(1); pred = p.argmax(1); acc = pred == y
    edges = np.linspace(0, 1, bins + 1); e = 0.0
    for lo, hi in zip(edges[:-1], edges[1:]):
        m = (conf > lo) & (conf <= hi)
        if m.any(): e += m.mean() * abs(acc[m].mean() - conf[m].mean())
    return float(e)

cases = []
for k in range(24):
    C = int(rng.choice([2, 3, 5, 7, 8])); n = int(rng.choice([12, 40, 137, 500]))
    prior = rng.dirichlet(np.ones(C) * 0.7)
    y = rng.choice(C, size=n, p=prior)
    if k % 4 != 3:                       # most cases: every class is present in y_true
        y[:C] = np.arange(C)
    logits = rng.normal(size=(n, C)) + 1.5 * np.eye(C)[y] * rng.uniform(0, 2)
    if k % 6 == 5: logits[:, 0] += 10    # degenerate predictor: one class only
    p = np.exp(logits - logits.max(1, keepdims=True)); p /= p.sum(1, keepdims=True)
    p = np.round(p, 6); p /= p.sum(1, keepdims=True)
    pred = p.argmax(1); labels = list(range(C))
    present = len(set(y.tolist())) == C
    c = dict(num_classes=C, y_true=y.tolist(), prob=p.tolist(),
        accuracy=skm.accuracy_score(y, pred),
        balanced_accuracy=float(np.mean([ (pred[y == c] == c).mean() for c in labels if (y == c).any()])),
        macro_f1=skm.f1_score(y, pred, labels=labels, average="macro", zero_division=0),
        weighted_f1=skm.f1_score(y, pred, labels=labels, average="weighted", zero_division=0),
        micro_f1=skm.f1_score(y, pred, labels=labels, average="micro", zero_division=0),
        macro_precision=skm.precision_score(y, pred, labels=labels, average="macro", zero_division=0),
        macro_recall=skm.recall_score(y, pred, labels=labels, average="macro", zero_division=0),
        per_class_f1=skm.f1_score(y, pred, labels=labels, average=None, zero_division=0).tolist(),
        confusion=skm.confusion_matrix(y, pred, labels=labels).tolist(),
        cohen_kappa=float(skm.cohen_kappa_score(y, pred, labels=labels)),
        quadratic_kappa=float(skm.cohen_kappa_score(y, pred, labels=labels, weights="quadratic")),
        mcc=float(skm.matthews_corrcoef(y, pred)),
        log_loss=float(skm.log_loss(y, p, labels=labels)),
        ece_15=ece(y, p),
        # one-vs-rest macro AUC; binary: AUC of class 1; null where a class is absent from y_true
        auroc=(None if not present else
               float(skm.roc_auc_score(y, p[:, 1])) if C == 2 else
               float(skm.roc_auc_score(y, p, multi_class="ovr", average="macro", labels=labels))),
        average_precision=(None if not present else
               float(skm.average_precision_score(y, p[:, 1])) if C == 2 else
               float(skm.average_precision_score(np.eye(C)[y], p, average="macro"))))
    cases.append({k2: (None if isinstance(v, float) and math.isnan(v) else v) for k2, v in c.items()})
# multi-label (CheXpert style): independent sigmoids
multi = []
for k in range(6):
    C, n = int(rng.choice([5, 14])), int(rng.choice([60, 300]))
    y = (rng.uniform(size=(n, C)) < rng.uniform(0.1, 0.6, size=C)).astype(int); y[0] = 0; y[1] = 1
    p = np.round(1 / (1 + np.exp(-(rng.normal(size=(n, C)) + (y * 2 - 1) * 0.8))), 6)
    pred = (p >= 0.5).astype(int)
    multi.append(dict(num_classes=C, y_true=y.tolist(), prob=p.tolist(),
        macro_f1=skm.f1_score(y, pred, average="macro", zero_division=0),
        micro_f1=skm.f1_score(y, pred, average="micro", zero_division=0),
        subset_accuracy=skm.accuracy_score(y, pred),
        auroc_macro=float(skm.roc_auc_score(y, p, average="macro")),
        average_precision_macro=float(skm.average_precision_score(y, p, average="macro"))))
json.dump(dict(source=f"scikit-learn {sklearn.__version__}", multiclass=cases, multilabel=multi), open(OUT / "metrics.json", "w"))

# ---------------------------------------------------------------- tests over paired scores
pairs = []
for k in range(6):
    n = int(rng.choice([5, 8, 12])); a = rng.normal(0.8, 0.02, n); b = a - rng.normal(0.01, 0.02, n)
    pairs.append(dict(a=a.tolist(), b=b.tolist(), mean_a=float(a.mean()), std_a_ddof1=float(a.std(ddof=1)),
        ttest_rel=list(map(float, scipy.stats.ttest_rel(a, b))),
        wilcoxon_exact=[float(x) for x in scipy.stats.wilcoxon(a, b, mode="exact")]))
json.dump(dict(source=f"SciPy {scipy.__version__}", pairs=pairs), open(OUT / "paired_tests.json", "w"))

# ---------------------------------------------------------------- operators, forward and backward
ops = {}
def put(name, t): ops[name] = t.detach().numpy().astype(np.float32) if isinstance(t, torch.Tensor) else np.asarray(t)
conv_cases = [  # n, cin, h, w, cout, k, stride, padding, dilation, groups
    (2, 3, 9, 9, 4, 3, 1, 1, 1, 1), (2, 4, 8, 8, 6, 3, 2, 1, 1, 1), (1, 3, 15, 13, 5, 7, 2, 3, 1, 1),
    (3, 8, 7, 7, 4, 1, 1, 0, 1, 1), (2, 8, 7, 7, 4, 1, 2, 0, 1, 1), (2, 6, 9, 9, 6, 3, 1, 2, 2, 1),
    (2, 8, 8, 8, 8, 3, 1, 1, 1, 8), (2, 8, 8, 8, 12, 3, 2, 1, 1, 4), (1, 3, 32, 32, 8, 16, 16, 0, 1, 1),
    (2, 5, 6, 6, 7, 5, 3, 2, 1, 1), (1, 16, 1, 1, 8, 3, 1, 1, 1, 1)]
for i, (n, ci, h, w, co, k, s, p, d, g) in enumerate(conv_cases):
    x = torch.randn(n, ci, h, w, requires_grad=True); wt = torch.randn(co, ci // g, k, k, requires_grad=True)
    b = torch.randn(co, requires_grad=True)
    y = F.conv2d(x, wt, b, s, p, d, g); gy = torch.randn_like(y); y.backward(gy)
    pre = f"conv{i}."
    put(pre + "config_k_s_p_d_g", [k, s, p, d, g])
    for nm, t in dict(x=x, w=wt, b=b, y=y, gy=gy, gx=x.grad, gw=wt.grad, gb=b.grad).items(): put(pre + nm, t)
for i, (k, s, p, h) in enumerate([(3, 2, 1, 13), (3, 2, 1, 14), (2, 2, 0, 8), (3, 1, 1, 7)]):
    x = torch.randn(2, 4, h, h, requires_grad=True); y = F.max_pool2d(x, k, s, p); gy = torch.randn_like(y); y.backward(gy)
    pre = f"maxpool{i}."; put(pre + "config_k_s_p", [k, s, p])
    for nm, t in dict(x=x, y=y, gy=gy, gx=x.grad).items(): put(pre + nm, t)
for i, (n, c, h) in enumerate([(4, 6, 5), (8, 3, 1), (2, 16, 7)]):
    bn = torch.nn.BatchNorm2d(c); bn.weight.data.uniform_(0.5, 1.5); bn.bias.data.normal_()
    bn.running_mean.normal_(); bn.running_var.uniform_(0.5, 2)
    pre = f"batchnorm{i}."
    for nm, t in dict(weight=bn.weight, bias=bn.bias, mean0=bn.running_mean, var0=bn.running_var).items(): put(pre + nm, t.clone())
    x = torch.randn(n, c, h, h) * 2 + 1; x.requires_grad_()
    bn.train(); y = bn(x); gy = torch.randn_like(y); y.backward(gy)
    for nm, t in dict(x=x, y=y, gy=gy, gx=x.grad, gweight=bn.weight.grad, gbias=bn.bias.grad, mean1=bn.running_mean, var1=bn.running_var).items(): put(pre + nm, t)
    bn.eval(); put(pre + "y_eval", bn(x))
save("ops", ops)

# ---------------------------------------------------------------- losses
loss = {}
for i, (n, c) in enumerate([(6, 4), (9, 2), (32, 8)]):
    z = torch.randn(n, c, requires_grad=True); t = torch.randint(0, c, (n,)); w = torch.rand(c) + 0.3
    for nm, kw in dict(plain={}, weighted=dict(weight=w), smooth=dict(label_smoothing=0.1), both=dict(weight=w, label_smoothing=0.1)).items():
        z.grad = None; l = F.cross_entropy(z, t, **kw); l.backward()
        loss[f"ce{i}.{nm}.loss"] = np.float32(l.item()); loss[f"ce{i}.{nm}.gz"] = z.grad.numpy().copy()
    loss[f"ce{i}.z"] = z.detach().numpy(); loss[f"ce{i}.t"] = t.numpy(); loss[f"ce{i}.w"] = w.numpy()
z = torch.randn(7, 5, requires_grad=True); t = (torch.rand(7, 5) > 0.5).float(); pw = torch.rand(5) + 0.5
l = F.binary_cross_entropy_with_logits(z, t, pos_weight=pw); l.backward()
loss.update({"bce.z": z.detach().numpy(), "bce.t": t.numpy(), "bce.pos_weight": pw.numpy(), "bce.loss": np.float32(l.item()), "bce.gz": z.grad.numpy()})
save("losses", loss)

# ---------------------------------------------------------------- optimizers and schedules: 12 steps on a quadratic
opt_out = dict(source=f"torch {torch.__version__}", runs=[])
w0 = torch.linspace(-1, 1, 7); tgt = torch.cos(torch.arange(7).float())
for name, mk in {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1), "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2),
    "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05), "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1)}.items():
    for clip in (None, 0.5):
        p = w0.clone().requires_grad_(); o = mk([p]); tr = []
        for _ in range(12):
            o.zero_grad(); ((p - tgt) ** 2 * torch.arange(1, 8)).sum().backward()
            if clip: torch.nn.utils.clip_grad_norm_([p], clip)
            o.step(); tr.append(p.detach().tolist())
        opt_out["runs"].append(dict(optimizer=name, clip_norm=clip, w0=w0.tolist(), target=tgt.tolist(), loss="sum((w-target)^2 * [1..7])",
            defaults={k: v for k, v in o.defaults.items() if isinstance(v, (int, float, bool, tuple, list))}, trajectory=tr))
def lrs(mk, n=20):
    p = torch.nn.Parameter(torch.zeros(1)); o = torch.optim.SGD([p], lr=1.0); s = mk(o); out = []
    for _ in range(n): out.append(o.param_groups[0]["lr"]); o.step(); s.step()
    return out
opt_out["schedules"] = dict(
    cosine_T20=lrs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20)),
    cosine_T20_min01=lrs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.1)),
    multistep_5_10=lrs(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [5, 10], 0.1)),
    onecycle=lrs(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=21)),
    warmup5_cosine=lrs(lambda o: torch.optim.lr_scheduler.SequentialLR(o, [torch.optim.lr_scheduler.LinearLR(o, 0.1, 1.0, 5), torch.optim.lr_scheduler.CosineAnnealingLR(o, 15)], [5])))
json.dump(opt_out, open(OUT / "optimizers.json", "w"))

# ---------------------------------------------------------------- backbones: weights by formula, logits by torch
def fill(m):
    """Float entries of state_dict() in sorted name order, j = position; flat index i:
    s = sin(0.1*i + 7*j) in f64, then: '*running_var' 1+0.1s; 1-D weight (norm scale) 1+0.1s; other 1-D 0.1s;
    >=2-D s*sqrt(2/fan_in), fan_in = numel/shape[0] (4-D, 2-D); 3-D (cls_token, pos_embed) 0.1s."""
    sd = m.state_dict()
    names = sorted(n for n, t in sd.items() if t.is_floating_point())
    for j, n in enumerate(names):
        t = sd[n]; s = torch.sin(0.1 * torch.arange(t.numel(), dtype=torch.float64) + 7 * j).reshape(t.shape)
        if n.endswith("running_var") or (t.dim() == 1 and n.endswith("weight")): v = 1 + 0.1 * s
        elif t.dim() in (1, 3) or t.dim() == 0: v = 0.1 * s
        else: v = s * math.sqrt(2 / (t.numel() / t.shape[0]))
        t.copy_(v.float())
    m.load_state_dict(sd); return m
def image(n, size, ch=3):
    i = torch.arange(n * ch * size * size, dtype=torch.float64)
    return (torch.sin(0.05 * i) + 0.5 * torch.cos(0.0137 * i)).reshape(n, ch, size, size).float()
mods = {}
def backbone(name, m, size, train=False):
    fill(m); m.eval(); x = image(2, size)
    with torch.no_grad(): lo = m(x)
    r = dict(input=f"image(2, {size})", num_params=sum(p.numel() for p in m.parameters()), logits_eval=lo.tolist(),
             state_dict={n: list(t.shape) for n, t in m.state_dict().items()})
    if train:
        m.train(); x = image(4, size); t = torch.tensor([0, 1, 2, 3]); z = m(x); l = F.cross_entropy(z, t); l.backward()
        r["train"] = dict(input=f"image(4, {size})", target=t.tolist(), loss=l.item(), logits=z.tolist(),
            grad_l2={n: p.grad.norm().item() for n, p in m.named_parameters()},
            running_mean_l2={n: b.norm().item() for n, b in m.named_buffers() if n.endswith(("running_mean", "running_var"))})
    mods[name] = r
tv = torchvision.models
backbone("resnet18", tv.resnet18(num_classes=7), 64, True)
backbone("resnet34", tv.resnet34(num_classes=7), 64)
backbone("resnet50", tv.resnet50(num_classes=7), 64, True)
backbone("densenet121", tv.densenet121(num_classes=7), 64, True)
backbone("vit_tiny_patch16_224", timm.create_model("vit_tiny_patch16_224", num_classes=7), 224, True)
backbone("deit_small_patch16_224", timm.create_model("deit_small_patch16_224", num_classes=7), 224)
json.dump(dict(source=f"torchvision {torchvision.__version__}, timm {timm.__version__}, torch {torch.__version__}",
    fill=fill.__doc__, image="f64: sin(0.05 i) + 0.5 cos(0.0137 i), i flat over (n, 3, size, size), cast to f32", models=mods),
    open(OUT / "backbones.json", "w"))
print("ok")
