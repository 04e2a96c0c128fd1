"""What dislib is asked for, in place and on agents: each function gives plain numbers."""

import os

os.environ.setdefault("ComputingUnits", "1")
os.environ.setdefault("ComputingUnitsTree", "1")

import dislib as ds
import numpy as np
from sklearn.datasets import load_iris, make_blobs, make_classification

from agentd.api import task


def low_rank():
    """A matrix with quickly falling singular values."""
    numbers = np.random.RandomState(0)
    return numbers.rand(60, 40) @ np.diag(np.logspace(2, -3, 40)) @ numbers.rand(40, 40)


def blobs():
    points, _ = make_blobs(n_samples=1200, centers=4, n_features=5, random_state=3)
    return points, points[[0, 300, 600, 900]]


@task(returns=list)
def kmeans():
    from dislib.cluster import KMeans

    points, start = blobs()
    found = KMeans(n_clusters=4, init=start, max_iter=30, tol=1e-6).fit(ds.array(points, (200, 5)))
    return found.centers.tolist()


@task(returns=list)
def pca():
    from dislib.decomposition import PCA

    data = load_iris().data
    found = PCA(n_components=2)
    moved = found.fit_transform(ds.array(data, (40, 4))).collect()
    return [np.abs(moved).tolist(), found.explained_variance_.collect().ravel().tolist()]


def _trees(estimator, size, classes_data):
    x, y = classes_data
    dx, dy = ds.array(x, (size, x.shape[1])), ds.array(y[:, None], (size, 1))
    estimator.fit(dx, dy)
    return np.asarray(estimator.predict(dx).collect()).ravel().astype(int).tolist()


@task(returns=list)
def decision_tree():
    from dislib.trees import RandomForestClassifier

    iris = load_iris(return_X_y=True)
    one = RandomForestClassifier(n_classes=3, n_estimators=1, try_features="third", max_depth=6, random_state=0)
    return _trees(one, 50, iris)


@task(returns=list)
def nested_forest():
    from dislib.trees import RandomForestClassifier

    data = make_classification(n_samples=400, n_features=8, random_state=0)
    forest = RandomForestClassifier(n_classes=2, n_estimators=4, max_depth=5, random_state=0, nested=True, mmap=False)
    return _trees(forest, 100, data)


@task(returns=list)
def lanczos():
    from dislib.decomposition import lanczos_svd

    _, values, _ = lanczos_svd(ds.array(low_rank(), (20, 10)), 20, 10, 10, 3, 1e-6, 1e-5, 6)
    return np.sort(np.diag(values.collect()))[::-1][:3].tolist()


@task(returns=list)
def matmul():
    a = np.random.RandomState(1).rand(120, 120)
    product = ds.matmul(ds.array(a, (40, 40)), ds.array(a, (40, 40)))
    return [product.collect().tolist(), (a @ a).tolist()]
