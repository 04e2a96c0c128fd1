"""dislib at work, timed where it runs: seconds of k-means and of a product of matrices, its data there already."""

import os
import time

os.environ.setdefault("ComputingUnits", "1")

POINTS, FEATURES, ROUNDS = 200_000, 20, 10
SIZE, BLOCK = 2048, 512


def kmeans() -> float:
    """Give the seconds of 10 iterations over 200,000 x 20 points, in 8 pieces."""
    import dislib as ds
    from dislib.cluster import KMeans
    from pycompss.api.api import compss_barrier

    points = ds.random_array((POINTS, FEATURES), (POINTS // 8, FEATURES), random_state=1)
    compss_barrier()
    started = time.perf_counter()
    KMeans(n_clusters=8, max_iter=ROUNDS, tol=0, random_state=1).fit(points)
    return time.perf_counter() - started


def matmul() -> float:
    """Give the seconds of a product of two matrices of 2048 x 2048, in blocks of 512."""
    import dislib as ds
    from pycompss.api.api import compss_barrier

    a, b = (ds.random_array((SIZE, SIZE), (BLOCK, BLOCK), random_state=seed) for seed in (1, 2))
    compss_barrier()
    started = time.perf_counter()
    ds.matmul(a, b)
    compss_barrier()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(kmeans(), matmul())
