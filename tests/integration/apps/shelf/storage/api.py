"""The functions that programs and workers call of a store."""

import os
import pickle
import uuid
from pathlib import Path

PLACE = []


def init(config_file_path=None, **_):
    _open("init", config_file_path)


def initWorker(config_file_path=None, **_):
    _open("initWorker", config_file_path)


def finish(**_):
    _note("finish")


def finishWorker(**_):
    _note("finishWorker")


def _open(what, file):
    PLACE[:] = [Path(Path(file).read_text().strip())]
    _note(what)


def _note(what):
    (PLACE[0] / f"{what}-{os.getpid()}").touch()


def getByID(identifier):
    return pickle.loads((PLACE[0] / identifier).read_bytes())


class Kept:
    """An object that may be made persistent; what is changed of it then is written at once."""

    def __init__(self, value=0):
        self.identifier, self.value = None, value

    def getID(self):
        return self.identifier

    def makePersistent(self, folder=None):
        self.identifier = str(uuid.uuid4())
        self.write(folder)

    def write(self, folder=None):
        place = Path(folder) if folder else PLACE[0]
        (place / self.identifier).write_bytes(pickle.dumps(self))
