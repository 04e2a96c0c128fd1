"""What dislib is asked for, in place and on agents: each function gives plain numbers."""

import os

os.environ.setdefault("ComputingUnits", "1")
os.environ.setdefault("ComputingUnitsTree", "1")

import dislib as ds
import numpy as np
from scipy import sparse
from sklearn.datasets import load_iris, make_blobs, make_classification, make_regression

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


def close_blobs():
    return make_blobs(n_samples=300, centers=3, cluster_std=0.3, random_state=1)[0]


def line():
    return make_regression(n_samples=120, n_features=4, noise=0.1, random_state=0)


@task(returns=list)
def clusters():
    from dislib.cluster import DBSCAN, Daura, GaussianMixture

    points = ds.array(close_blobs(), (60, 2))
    found = [DBSCAN(eps=0.7, min_samples=5).fit_predict(points)]
    found.append(GaussianMixture(n_components=3, random_state=0, max_iter=20).fit_predict(points))
    near = Daura(cutoff=2.0).fit_predict(ds.array(close_blobs()[:60], (20, 2)))
    return [*map(_numbers, found), sorted(len(cluster) for cluster in near)]


@task(returns=list)
def classifiers():
    from dislib.classification import CascadeSVM, KNeighborsClassifier
    from dislib.model_selection import GridSearchCV, KFold

    data, labels = load_iris(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(data))
    x, y = ds.array(data[order], (50, 4)), ds.array(labels[order][:, None], (50, 1))
    nearest = KNeighborsClassifier(n_neighbors=3)
    nearest.fit(x, y)
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 5]}, cv=3)
    search.fit(x, y)
    few, which = make_classification(n_samples=200, n_features=6, random_state=0)
    few, which = ds.array(few, (50, 6)), ds.array(which[:, None], (50, 1))
    machine = CascadeSVM(max_iter=3, random_state=1, kernel="rbf", gamma=0.1)
    machine.fit(few, which)
    folds = [float(_sum(train[0])) for train, _ in KFold(n_splits=3).split(x, y)]
    scores = [float(score) for score in search.cv_results_["mean_test_score"]]
    return [_numbers(nearest.predict(x)), _numbers(machine.predict(few)), folds, scores]


@task(returns=list)
def lines_and_matrices():
    from dislib.decomposition import qr, tsqr
    from dislib.preprocessing import StandardScaler
    from dislib.recommendation import ALS
    from dislib.regression import Lasso, LinearRegression

    data, values = line()
    x, y = ds.array(data, (30, 4)), ds.array(values[:, None], (30, 1))
    straight, short = LinearRegression(), Lasso(lmbd=0.1, max_iter=50)
    straight.fit(x, y)
    short.fit(x, y)
    square, high = (np.random.RandomState(0).rand(*shape) for shape in ((32, 32), (64, 8)))
    q, r = qr(ds.array(square, (8, 8)), mode="full")
    tall_q, tall_r = tsqr(ds.array(high, (16, 8)), mode="complete")
    pairs = ((q, r, square), (tall_q, tall_r, high))
    errors = [np.abs(one.collect() @ other.collect() - whole).max() for one, other, whole in pairs]
    liked = sparse.csr_matrix(np.random.RandomState(0).randint(0, 5, (40, 30)).astype(float))
    als = ALS(n_f=5, max_iter=5, random_state=1, tol=1e-4)
    als.fit(ds.array(liked, (10, 10)))
    return [
        _numbers(straight.coef_),
        _numbers(short.predict(x)),
        [float(error < 1e-9) for error in errors],
        _numbers(StandardScaler().fit_transform(x)),
        np.round(np.asarray(als.predict_user(3)), 4).ravel().tolist(),
    ]


def _numbers(array):
    return np.asarray(array.collect()).ravel().astype(float).tolist()


def _sum(array):
    return np.asarray(array.collect()).sum()
