"""Everything the program raises on purpose."""

from pathlib import Path


class PhotometryError(Exception):
    """A problem the user can act on; the command line prints its text."""


class InputError(PhotometryError):
    """A file or folder that cannot be used as it is."""

    def __init__(self, path: str | Path, problem: str) -> None:
        super().__init__(path, problem)
        self.path = Path(path)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.problem}"


class SourceError(PhotometryError):
    """A source of data over the network that refuses or fails."""


class OutputError(PhotometryError):
    """A product that cannot be written."""


class UsageError(PhotometryError):
    """A request that makes no sense as it was given."""


class SettingsError(PhotometryError):
    """An unknown setting or a value that is not allowed."""


class TodoError(PhotometryError):
    """A to-do list of another schema, or an illegal change of status."""


class WorkerDied(PhotometryError):
    """Nobody is left to do the work."""

    def __str__(self) -> str:
        return (f"workers keep dying (the last {super().__str__()}); all saved results are kept: "
                "run the same command again to finish the rest")
