"""What all commands share: options, environment, settings, logging, exit codes."""

import argparse
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from photometry.core.errors import InputError, PhotometryError, UsageError, WorkerDied
from photometry.core.ids import Select
from photometry.core.progress import Item, Progress, Total, number_of, silent
from photometry.core.settings import override_sections
from photometry.core.work import THREAD_VARIABLES
from photometry.io.facts import read_toml

DONE, SOME_FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 75
LOG_EVERY_S = 30        # between progress lines of one piece of long work in a batch log

# Libraries read these when they are loaded, which nothing above does; a user's choice stands.
for _variable in THREAD_VARIABLES:
    os.environ.setdefault(_variable, "1")

logger = logging.getLogger("photometry")


# The frame around every command.


def command(parser: argparse.ArgumentParser, body: Callable[[argparse.Namespace], int],
            argv: Sequence[str] | None) -> int:
    """Parse, run, and turn what happens into an exit code and one clear line."""
    args = parser.parse_args(argv)
    start_logging(args)
    try:
        return body(args)
    except WorkerDied as problem:
        _fail(args, str(problem))
        return INTERRUPTED
    except PhotometryError as problem:
        return _fail(args, str(problem))
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == __package__:
            raise                   # of our own: a bug
        return _fail(args, f"{missing.name} is not installed for {sys.executable}: use the "
                           "environment that `make` makes (.venv/bin/python), or "
                           "pip install -r requirements.txt")
    except BrokenPipeError:
        sys.stderr.close()          # the reader of our output has gone: nothing left to tell it
        return DONE
    except OSError as problem:
        return _fail(args, f"{problem.filename or 'input/output'}: {problem.strerror or problem}")
    except KeyboardInterrupt:
        logger.error("interrupted; what was saved is kept: run the same command again")
        return INTERRUPTED


def _fail(args: argparse.Namespace, line: str) -> int:
    logger.error(line, exc_info=args.debug)
    return UNUSABLE


def say(*lines: str) -> None:
    """Print what a command was asked for."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def start_logging(args: argparse.Namespace) -> None:
    """Send the program's log to standard error."""
    level = logging.DEBUG if args.debug else logging.WARNING if args.quiet else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def progress_for(args: argparse.Namespace) -> Progress:
    """Return a bar on a terminal, a line now and then in a batch log, nothing when quiet."""
    if args.quiet:
        return silent
    return _bar if sys.stderr.isatty() else _log_lines


def _bar(items: Iterable[Item], total: Total, label: str) -> Iterator[Item]:
    from tqdm import tqdm
    with tqdm(total=number_of(total), desc=label, dynamic_ncols=True) as bar:
        for item in items:
            yield item
            bar.total = number_of(total)
            bar.update()


def _log_lines(items: Iterable[Item], total: Total, label: str) -> Iterator[Item]:
    began = told = time.monotonic()
    done = said = 0

    def tell() -> None:
        nonlocal told, said
        told, said = time.monotonic(), done
        rate, expected = done / max(told - began, 1e-3), number_of(total)
        logger.info("%s: %d of %d, %.3g per second, %.0f s left", label, done, expected, rate,
                    (expected - done) / rate)

    for item in items:
        yield item
        done += 1
        if time.monotonic() - told > LOG_EVERY_S:
            tell()
    if done > said:
        tell()


def mpi_size() -> int:
    """Return the number of ranks that an MPI launcher says it started."""
    names = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
    given = (os.environ.get(name, "") for name in names)
    return max((int(size) for size in given if size.isdecimal()), default=1)


@contextmanager
def stopping(drain_s: float) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether a signal has asked the run to stop.

    A second signal, or `drain_s` seconds, and `KeyboardInterrupt` is raised; and by the function
    again, in case a library took it for an error of its own (as compilers do).
    """
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        asked.append(number)
        if stop():
            signal.setitimer(signal.ITIMER_REAL, drain_s)

    def stop() -> bool:
        if len(asked) > 1:
            raise KeyboardInterrupt
        return bool(asked)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
    before = [signal.signal(number, ask) for number in numbers]
    try:
        yield stop
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


# Groups of options.


def new_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Return a parser with the options every command has."""
    parser = argparse.ArgumentParser(
        name, description=description, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--debug", action="store_true",
                        help="tell every step; a traceback for errors")
    parser.add_argument("-q", "--quiet", action="store_true",
                        help="tell only the result and what goes wrong")
    parser.add_argument("--settings", type=Path, metavar="FILE.toml",
                        help="values that differ from the defaults (see: tessphot settings)")
    return parser


def number(text: str) -> float:
    """Return a finite number that an option gives."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: expected a finite number")
    return value


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the input folder."""
    parser.add_argument("input", type=Path, nargs="?", metavar="INPUT",
                        help="input folder (default: $TESSPHOT_INPUT)")


def add_selection(parser: argparse.ArgumentParser, sector: bool = True,
                  cadence: bool = True) -> None:
    """Add the options that limit a run to some data; each may be repeated."""
    if sector:
        parser.add_argument("--sector", type=int, action="append", default=[])
    parser.add_argument("--camera", type=int, action="append", default=[], choices=(1, 2, 3, 4))
    parser.add_argument("--ccd", type=int, action="append", default=[], choices=(1, 2, 3, 4))
    if cadence:
        parser.add_argument("--cadence", type=int, action="append", default=[],
                            metavar="SECONDS")


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the permission to replace products."""
    parser.add_argument("-o", "--overwrite", action="store_true",
                        help="replace products that are there already")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add how to read images of other instruments."""
    parser.add_argument("--profile", type=Path, metavar="FILE.toml",
                        help="which cards and HDUs of the images in INPUT say what, for images "
                             "of other instruments (default: profile.toml beside images; see "
                             "docs/images.md)")


def add_prf(parser: argparse.ArgumentParser) -> None:
    """Add where the measurement of PRFs starts from."""
    parser.add_argument("--prf", type=Path, metavar="DIR",
                        help="the mission's PRF models, to be corrected by the cube's stars; or "
                             "the word stars: measured on those alone, or average: a simple "
                             "profile (default: $TESSPHOT_PRF, else stars)")


def selection(args: argparse.Namespace) -> Select:
    """Return the selection that the options describe."""
    sector = getattr(args, "sector", ())
    return Select(sectors=(sector,) if isinstance(sector, int) else tuple(sector),
                  cameras=tuple(args.camera), ccds=tuple(args.ccd),
                  cadences=tuple(getattr(args, "cadence", ())))


def input_folder(args: argparse.Namespace, beside: Path | None) -> Path:
    """Return the input folder: argument, then environment, then `tests/input` beside a script.

    Raises
    ------
    UsageError
        When none of the three says where the data are.
    InputError
        When the folder is not there.
    """
    given = args.input or os.environ.get("TESSPHOT_INPUT")
    if not given and beside is None:
        raise UsageError("no input folder: give INPUT or set TESSPHOT_INPUT")
    folder = Path(given) if given else beside / "tests" / "input"
    if not folder.is_dir():
        raise InputError(folder, "is not a folder" if folder.exists() else "no such folder")
    return folder.resolve()


def is_shipped(folder: Path, beside: Path | None) -> bool:
    """Tell whether a folder is the example that comes with the program: never written to."""
    return beside is not None and folder == (beside / "tests" / "input").resolve()


def refuse_shipped(folder: Path, beside: Path | None) -> None:
    """Keep products out of the example folder that comes with the program."""
    if is_shipped(folder, beside):
        raise UsageError("no input folder: give INPUT or set TESSPHOT_INPUT "
                         "(the example data in tests/input are never written to)")


def output_folder(args: argparse.Namespace, folder: Path, shipped: bool) -> Path:
    """Return where light curves go: argument, then environment, then below the input."""
    beside_input = Path("lightcurves") if shipped else folder / "lightcurves"
    return Path(args.output or os.environ.get("TESSPHOT_OUTPUT") or beside_input).absolute()


def prf_folder(args: argparse.Namespace) -> Path | None:
    """Return where the mission's PRF models are: argument, then environment, then nowhere.

    The words `stars` and `average` are handed on as they are.

    Raises
    ------
    InputError
        When the folder is not there.
    """
    given = str(args.prf or os.environ.get("TESSPHOT_PRF") or "")
    if not given:
        return None
    folder = Path(given)
    if str(given) in ("stars", "average"):
        return folder
    if not folder.is_dir():
        raise InputError(folder, "is not a folder" if folder.exists() else "no such folder")
    return folder.resolve()


SECTIONS = {"simulate": "stages.simulate", "catalog": "stages.make_catalog",
            "prepare": "stages.prepare", "background": "sky.level",
            "stars": "sky.starmask", "wings": "sky.wings", "anomalies": "sky.anomalies",
            "changes": "sky.differences",
            "todo": "stages.make_todo", "tessphot": "stages.tessphot",
            "choice": "stages.method_choice", "report": "stages.report"}


def settings_of(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return groups of settings by name, with the values of `--settings` where given.

    Raises
    ------
    InputError, SettingsError
        When the file cannot be read, or holds an unknown section, key or type of value.
    """
    if args.settings is None:
        return {name: _default_settings(name) for name in names}
    every = {name: _default_settings(name) for name in section_names()}
    given = override_sections(every, read_toml(args.settings))
    return {name: given[name] for name in names}


def section_names() -> tuple[str, ...]:
    """Return the names of all groups of settings."""
    from photometry import methods
    return (*SECTIONS, *(f"methods.{name}" for name in methods.names()))


def _default_settings(name: str) -> Any:
    return import_module(f"photometry.{SECTIONS.get(name, name)}").Settings()


def workers_of(args: argparse.Namespace) -> int:
    """Return the number of processes: as asked for, or all CPUs that are allowed."""
    count = args.workers if args.workers is not None else _allowed_cpus()
    if count < 1:
        raise UsageError(f"--workers {count}: expected 1 or more")
    return count


def _allowed_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):       # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
