"""dislib from PyPI, unchanged: on one agent and on three it gives what scikit-learn gives, and what it gives alone."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from agentd.api import connect
from tests.conftest import ROOT, StartAgent, agent_environment

pytest.importorskip("dislib", reason="make compat installs dislib")
np = pytest.importorskip("numpy")

APPS = Path(__file__).parent / "apps"
PATIENCE_S = 300.0
RUNS = (
    *("kmeans", "pca", "decision_tree", "nested_forest", "lanczos", "matmul"),
    *("clusters", "classifiers", "lines_and_matrices"),
)

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def in_place() -> dict[str, Any]:
    """What dislib gives as a plain program; its Lanczos ends by a task that fails, which a plain program cannot."""
    names = [name for name in RUNS if name != "lanczos"]
    code = f"import json, dislib_programs as p; print('::' + json.dumps({{n: getattr(p, n)() for n in {names!r}}}))"
    path = f"{ROOT}:{ROOT / 'agentd' / 'pycompss'}:{APPS}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=agent_environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.partition("::")[2])
    return found


def _on_agents(start_agent: StartAgent, count: int, name: str) -> Any:
    """Run one of the programs on so many agents, of one core each where there are several."""
    options = ("--pythonpath", str(APPS), "--allow", "dislib", "--cpu", "2" if count == 1 else "1")
    home = start_agent(*options, "--hostname", "home")
    with connect(home.state) as client:
        for number in range(1, count):
            other = start_agent(*options, "--hostname", f"other{number}")
            host, _, port = other.comm.rpartition(":")
            client.add(f"other{number}", 1, properties={"Host": host, "Port": port})
        return client.call(f"dislib_programs:{name}")


@pytest.mark.parametrize("agents", [1, 3])
@pytest.mark.parametrize("name", RUNS)
def test_dislib_gives_the_same_on_agents(
    start_agent: StartAgent, in_place: dict[str, Any], name: str, agents: int
) -> None:
    """The numbers are those of its own sequential run, and of scikit-learn or numpy where these have the algorithm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _on_agents(start_agent, agents, name)
        if name in in_place and name != "nested_forest":  # its trees are random, two plain runs differ too
            np.testing.assert_allclose(*map(_flat, (found, in_place[name])), rtol=1e-7, atol=1e-9)
        CHECKS[name](found)


def _flat(found: Any) -> Any:
    return np.concatenate([np.ravel(part) for part in found])


def _check_kmeans(found: Any) -> None:
    from dislib_programs import blobs  # type: ignore[import-not-found]
    from sklearn.cluster import KMeans

    points, start = blobs()
    own = KMeans(n_clusters=4, init=start, n_init=1, max_iter=30, tol=1e-6).fit(points).cluster_centers_
    np.testing.assert_allclose(np.array(found), own, rtol=1e-4)


def _check_pca(found: Any) -> None:
    from sklearn.datasets import load_iris
    from sklearn.decomposition import PCA

    own = PCA(n_components=2)
    moved = np.abs(own.fit_transform(load_iris().data))
    np.testing.assert_allclose(np.array(found[0]), moved, atol=1e-6)
    np.testing.assert_allclose(found[1], own.explained_variance_, rtol=1e-6)


def _check_labels(found: Any, data: Any, least: float) -> None:
    assert np.mean(np.array(found) == data[1]) >= least


def _check_tree(found: Any) -> None:
    from sklearn.datasets import load_iris

    _check_labels(found, load_iris(return_X_y=True), 0.9)


def _check_forest(found: Any) -> None:
    from sklearn.datasets import make_classification

    _check_labels(found, make_classification(n_samples=400, n_features=8, random_state=0), 0.9)


def _check_lanczos(found: Any) -> None:
    from dislib_programs import low_rank

    np.testing.assert_allclose(found, np.linalg.svd(low_rank())[1][:3], rtol=1e-6)


def _check_clusters(found: Any) -> None:
    from dislib_programs import close_blobs
    from sklearn.cluster import DBSCAN
    from sklearn.metrics import adjusted_rand_score

    own = DBSCAN(eps=0.7, min_samples=5).fit_predict(close_blobs())
    assert adjusted_rand_score(found[0], own) == 1.0


def _check_classifiers(found: Any) -> None:
    from sklearn.datasets import load_iris
    from sklearn.neighbors import KNeighborsClassifier

    data, labels = load_iris(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(data))
    own = KNeighborsClassifier(n_neighbors=3).fit(data[order], labels[order]).predict(data[order])
    assert np.mean(np.array(found[0]) == own) >= 0.98  # neighbours at the same distance are taken in another order
    assert min(found[3]) >= 0.9


def _check_lines(found: Any) -> None:
    from dislib_programs import line
    from sklearn.linear_model import LinearRegression

    np.testing.assert_allclose(found[0], LinearRegression().fit(*line()).coef_, rtol=1e-6)
    assert found[2] == [1.0, 1.0]


def _check_matmul(found: Any) -> None:
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


CHECKS = {
    "kmeans": _check_kmeans,
    "pca": _check_pca,
    "decision_tree": _check_tree,
    "nested_forest": _check_forest,
    "lanczos": _check_lanczos,
    "matmul": _check_matmul,
    "clusters": _check_clusters,
    "classifiers": _check_classifiers,
    "lines_and_matrices": _check_lines,
}


@pytest.fixture(autouse=True)
def _programs_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(APPS))
