"""Makes the reference numbers of merge methods: computed by mergekit's functions in f32, by FusionBench's in f64 (TSV-M,
Iso-C, on convolutions as matrices), and by NumPy in f64 what neither has (uniform soup, WiSE-FT) or does otherwise (DARE,
with given masks).
Run in a venv with mergekit 0.1.5, fusion-bench 0.2.33 and torch.

    python make_merge_methods.py OUT_DIR [SEED]
"""
import json, sys
from pathlib import Path
import numpy as np
import torch
from fusion_bench.method.isotropic_merging.iso_utils import iso_c
from fusion_bench.method.task_singular_vector.utils.TSVM_utils import compute_and_sum_svd_mem_reduction
from mergekit.merge_methods import merge_tensors

OUT = Path(sys.argv[1])
rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
torch.set_num_threads(1)
SHAPES = [(5,), (4, 6), (3, 2, 3, 3)]


def numbers(array):
    """Shortest digits that read back as the same f32."""
    return [float(str(value)) for value in np.asarray(array, np.float32).ravel()]


def by_mergekit(method, base, sources, **parameters):
    """Ours takes the base beside the sources; mergekit among them, as the last, where the method has one."""
    tensors = [torch.from_numpy(source) for source in sources]
    if base is not None:
        tensors.append(torch.from_numpy(base))
    base_index = None if base is None else len(tensors) - 1
    return merge_tensors(tensors, method, parameters=parameters, base_index=base_index).numpy()


def slerp(sources, t):
    """mergekit goes from the base to the other."""
    tensors = [torch.from_numpy(source) for source in sources]
    return merge_tensors(tensors, "slerp", parameters={"t": t}, base_index=0).numpy()


def wide(array):
    return np.asarray(array, np.float64)


def by_fusion_bench(merge, base, sources):
    """The merged task vector. Theirs takes matrices as such and averages all else, so convolutions come as matrices."""
    shape = base.shape if base.ndim == 1 else (len(base), -1)
    vectors = [{"weight": torch.from_numpy((wide(source) - wide(base)).reshape(shape))} for source in sources]
    return merge(vectors, accelerator="cpu")["weight"].numpy().reshape(base.shape)


def dare(base, sources, masks, drop, rescale, scaling):
    kept = sum(mask * (wide(source) - wide(base)) for mask, source in zip(masks, sources))
    return wide(base) + scaling * kept / (1 - drop if rescale else 1)


def merged(base, sources):
    """Each method, written as in an experiment file, and what it makes."""
    n = len(sources)
    weights = numbers(rng.uniform(0.5, 2, n))
    yield {"average": {}}, by_mergekit("linear", None, sources, weight=[1.0] * n)
    yield {"average": {"weights": weights}}, by_mergekit("linear", None, sources, weight=weights)
    yield {"uniform_soup": {}}, np.mean(wide(sources), 0)
    for alpha in [0.0, 0.3, 1.0]:
        yield {"wise_ft": {"alpha": alpha}}, (1 - alpha) * wide(base) + alpha * np.mean(wide(sources), 0)
    for scaling in [0.4, 1.3]:
        arithmetic = by_mergekit("task_arithmetic", base, sources, weight=[1.0] * n, **{"lambda": scaling})
        yield {"task_arithmetic": {"scaling": scaling}}, arithmetic
    for density, scaling in [(0.2, 1.0), (0.5, 0.7), (0.01, 1.0), (1.0, 1.0)]:
        options = {"weight": [1.0] * n, "density": [density] * n, "lambda": scaling}
        yield {"ties": {"density": density, "scaling": scaling}}, by_mergekit("ties", base, sources, **options)
    yield {"model_stock": {}}, by_mergekit("model_stock", base, sources)
    yield {"tsv_m": {"scaling": 0.8}}, wide(base) + 0.8 * by_fusion_bench(compute_and_sum_svd_mem_reduction, base, sources)
    yield {"iso_c": {}}, wide(base) + by_fusion_bench(iso_c, base, sources)
    if n == 2:
        for t in [0.0, 0.3, 0.5, 1.0]:
            yield {"slerp": {"t": t}}, slerp(sources, t)


def case(shape, n, spread):
    """Sources at some distance from a common start, in directions that agree in part."""
    draw = lambda: rng.normal(size=shape).astype(np.float32)
    base, common = draw(), draw()
    sources = [base + np.float32(spread) * (common + draw()) for _ in range(n)]
    methods = [{"method": spec, "merged": numbers(result)} for spec, result in merged(base, sources)]
    masks = [rng.integers(0, 2, size=shape) for _ in range(n)]
    for drop, rescale, scaling in [(0.5, True, 0.4), (0.75, False, 1.0)]:
        result = dare(base, sources, masks, drop, rescale, scaling)
        spec = {"dare": {"drop": drop, "rescale": rescale, "scaling": scaling}}
        methods.append({"method": spec, "masks": [numbers(mask) for mask in masks], "merged": numbers(result)})
    return {
        "shape": shape,
        "base": numbers(base),
        "sources": [numbers(source) for source in sources],
        "methods": methods,
    }


# the smallest spread makes sources that are nearly parallel: slerp falls back to the straight line
cases = [case(shape, n, spread) for shape in SHAPES for n, spread in [(2, 1.0), (2, 0.003), (3, 0.5), (4, 1.0)]]
cosines = [np.dot(*case["sources"][:2]) / np.prod(np.linalg.norm(case["sources"][:2], axis=1)) for case in cases]
assert min(cosines) < 0.9 and max(cosines) > 0.9995, cosines
(OUT / "merge_methods.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
