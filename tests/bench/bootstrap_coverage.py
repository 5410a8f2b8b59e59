"""How often 95 % bootstrap intervals hold the truth, and how often two models that are equally good are told
apart at 0.05, as tables do both: images and seeds drawn together. Scores of images are normal: what an image is
worth, the luck of a seed, and the rest.

    python bootstrap_coverage.py
"""

import numpy as np

IMAGES, RESAMPLES, REPEATS = 200, 400, 400
SPREAD_OF_IMAGES, REST = 0.35, 0.25

rng = np.random.default_rng(0)


def scores(seeds, spread_of_seeds, of_images):
    luck = rng.normal(0, spread_of_seeds, seeds)
    return of_images + luck[:, None] + rng.normal(0, REST, (seeds, IMAGES))


print("seeds  spread of seeds  holds the truth  tells equals apart")
for seeds in [1, 3, 5, 10]:
    for spread in [0, 0.02, 0.04]:
        holds = apart = 0
        for _ in range(REPEATS):
            of_images = rng.normal(0, SPREAD_OF_IMAGES, IMAGES)
            images = rng.multinomial(IMAGES, [1 / IMAGES] * IMAGES, size=RESAMPLES) / IMAGES
            drawn = rng.multinomial(seeds, [1 / seeds] * seeds, size=RESAMPLES) / seeds
            a, b = [(drawn * (images @ scores(seeds, spread, of_images).T)).sum(1) for _ in range(2)]
            low, high = np.percentile(a, [2.5, 97.5])
            holds += low <= 0 <= high
            fewer = min((a - b <= 0).sum(), (a - b >= 0).sum())
            apart += 2 * (fewer + 1) / (RESAMPLES + 1) < 0.05
        print(f"{seeds:5}  {spread:15}  {holds / REPEATS:15.3f}  {apart / REPEATS:18.3f}")
