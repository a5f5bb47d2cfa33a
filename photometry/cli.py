"""Every command: arguments, environment, logging, exit codes."""

import argparse
import logging
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from photometry import __version__
from photometry.core.errors import InputError, PhotometryError, SettingsError, UsageError
from photometry.core.ids import Select
from photometry.core.outcome import Status
from photometry.core.progress import Item, Progress, silent
from photometry.core.settings import fingerprint, override_sections, to_toml

DONE, SOME_FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 75
LOG_EVERY = 10          # progress lines of long work in a batch log
METHODS = ("aperture", "psf", "linpsf", "halo")
FAILED = (Status.ERROR, Status.ABORT)

logger = logging.getLogger("photometry")


# The frame around every command.


def command(parser: argparse.ArgumentParser, body: Callable[[argparse.Namespace], int],
            argv: Sequence[str] | None) -> int:
    """Parse, run, and turn what happens into an exit code and one clear line."""
    args = parser.parse_args(argv)
    start_logging(args)
    try:
        return body(args)
    except PhotometryError as problem:
        return _fail(args, str(problem))
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


def _bar(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    from tqdm import tqdm
    return iter(tqdm(items, total=total, desc=label, dynamic_ncols=True))


def _log_lines(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    step = max(total // LOG_EVERY, 1)
    for done, item in enumerate(items, 1):
        yield item
        if done % step == 0 or done == total:
            logger.info("%s: %d of %d", label, done, total)


# Groups of options.


def new_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Return a parser with the options every command has."""
    parser = argparse.ArgumentParser(
        name, description=description, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--debug", action="store_true",
                        help="tell every step; a traceback for errors")
    parser.add_argument("-q", "--quiet", action="store_true", help="tell only what goes wrong")
    parser.add_argument("--settings", type=Path, metavar="FILE.toml",
                        help="values that differ from the defaults (see: tessphot settings)")
    return parser


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


def selection(args: argparse.Namespace) -> Select:
    """Return the selection that the options describe."""
    return Select(sectors=tuple(getattr(args, "sector", ())), cameras=tuple(args.camera),
                  ccds=tuple(args.ccd), cadences=tuple(getattr(args, "cadence", ())))


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


SECTIONS = {"simulate": "stages.simulate", "catalog": "stages.make_catalog",
            "prepare": "stages.prepare", "background": "sky.background",
            "todo": "stages.make_todo", "tessphot": "stages.tessphot"}


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
    given = override_sections(every, _toml(args.settings))
    return {name: given[name] for name in names}


def section_names() -> tuple[str, ...]:
    """Return the names of all groups of settings."""
    from photometry import methods
    return (*SECTIONS, *(f"methods.{name}" for name in methods.names()))


def _default_settings(name: str) -> Any:
    return import_module(f"photometry.{SECTIONS.get(name, name)}").Settings()


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise InputError(path, problem.strerror or str(problem)) from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path}: is not TOML: {problem}") from problem


def _workers(args: argparse.Namespace) -> int:
    count = args.workers if args.workers is not None else len(os.sched_getaffinity(0))
    if count < 1:
        raise UsageError(f"--workers {count}: expected 1 or more")
    return count


# Run_tessphot.py.


def tessphot(argv: Sequence[str] | None = None, beside: Path | None = None) -> int:
    """Measure the targets of a to-do list."""
    return command(_tessphot_parser(), lambda args: _tessphot(args, beside), argv)


def _tessphot_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "run_tessphot.py", "Measure the light curves of the targets in a to-do list; "
        "under mpiexec, with all ranks.",
        "run_tessphot.py --all --workers 4 data\n"
        "  mpiexec -n 8 python run_tessphot.py --all data\n"
        "  run_tessphot.py --starid=182092046 --debug --plot")
    add_folders(parser)
    which = parser.add_argument_group("which targets (one of)").add_mutually_exclusive_group(
        required=True)
    which.add_argument("--all", action="store_true", help="all that are not done yet")
    which.add_argument("--starid", type=int, action="append", default=[], metavar="TIC",
                       help="this star, measured before or not; may be repeated")
    which.add_argument("--priority", type=int, action="append", default=[], metavar="N",
                       help="this row of the list; may be repeated")
    which.add_argument("-r", "--random", action="store_true", help="one that is not done yet")
    add_selection(parser)
    parser.add_argument("--datasource", choices=("ffi", "tpf"))
    parser.add_argument("--tmag-min", "--tmag_min", type=float, metavar="TMAG")
    parser.add_argument("--tmag-max", "--tmag_max", type=float, metavar="TMAG")
    parser.add_argument("-m", "--method", choices=METHODS, help="force one method for all")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="default: $TESSPHOT_OUTPUT, else INPUT/lightcurves")
    parser.add_argument("--version", type=int, default=1, metavar="N",
                        help="data release version in file names (default 1)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="local processes")
    parser.add_argument("--no-gzip", action="store_true", help="write .fits, not .fits.gz")
    parser.add_argument("-p", "--plot", action="store_true", help="save figures of each star")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    add_overwrite(parser)
    return parser


def _tessphot(args: argparse.Namespace, beside: Path | None) -> int:
    from photometry.workers import executor
    with executor(_workers(args), mpi=_mpi_size() > 1) as pool:
        return DONE if pool is None else _tessphot_master(args, beside, pool)


def _mpi_size() -> int:
    """Return the number of ranks that an MPI launcher says it started."""
    names = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
    return max(int(os.environ.get(name, 1)) for name in names)


def _tessphot_master(args: argparse.Namespace, beside: Path | None, pool: Any) -> int:
    from photometry.io.todo import Todo
    from photometry.stages import accounts
    from photometry.stages import tessphot as stage
    from photometry.workers import capacity, pull
    folder = input_folder(args, beside)
    shipped = is_shipped(folder, beside)
    run = _run_of(args, folder, shipped)
    with Todo(folder, in_memory=shipped) as todo:
        select = stage.choose(todo, _target_selection(args), again=args.overwrite,
                              at_random=args.random)
        if args.dry_run:
            say(*accounts.plan(todo, select))
            return DONE
        todo.begin_run(__version__, to_toml(settings_of(args, *section_names())))
        draw = partial(pull, pool, in_flight=capacity(pool) * run.settings.tiles_ahead)
        explain = bool(select.starids or select.priorities)
        results = [result for result in
                   stage.photometry(todo, run, select, draw, progress_for(args))
                   if explain or result.status in FAILED]
        failed = [result for result in results if result.status in FAILED]
        code = SOME_FAILED if failed else DONE
        todo.end_run(code)
        if explain:
            say(*(line for result in results for line in accounts.story(result, args.debug)))
        say(*accounts.account(todo, select, failed, run.output))
    return code


def _run_of(args: argparse.Namespace, folder: Path, shipped: bool) -> Any:
    from photometry import methods
    from photometry.stages import tessphot as stage
    if args.method is not None:
        methods.get(args.method)
    names = methods.names()
    sections = settings_of(args, "tessphot", *(f"methods.{name}" for name in names))
    method_settings = {name: sections[f"methods.{name}"] for name in names}
    output = args.output or os.environ.get("TESSPHOT_OUTPUT") or (
        Path("lightcurves") if shipped else folder / "lightcurves")
    return stage.Run(
        folder, Path(output).absolute(), sections["tessphot"], method_settings, args.method,
        args.version, not args.no_gzip, args.plot,
        fingerprint=fingerprint(sections["tessphot"], *method_settings.values(), args.method),
        date=_date())


def _date() -> str:
    """Return what DATE cards say: now, or SOURCE_DATE_EPOCH for files that must be equal."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S")


def _target_selection(args: argparse.Namespace) -> Select:
    return replace(selection(args), starids=tuple(args.starid), priorities=tuple(args.priority),
                   datasource=args.datasource, tmag_min=args.tmag_min, tmag_max=args.tmag_max)


# Run_make_todo.py.


def make_todo(argv: Sequence[str] | None = None, beside: Path | None = None) -> int:
    """Make the to-do list."""
    parser = new_parser("run_make_todo.py", "Make the list of targets of the cubes and target "
                        "pixel files in a folder.", "run_make_todo.py --faint-limit 14 data")
    add_folders(parser)
    add_selection(parser)
    parser.add_argument("--faint-limit", type=float, metavar="TMAG",
                        help="stars must be brighter than this (default 15)")
    add_overwrite(parser)
    return command(parser, lambda args: _make_todo(args, beside), argv)


def _make_todo(args: argparse.Namespace, beside: Path | None) -> int:
    from photometry.stages import make_todo as stage
    folder = input_folder(args, beside)
    refuse_shipped(folder, beside)
    settings = settings_of(args, "todo")["todo"]
    if args.faint_limit is not None:
        settings = replace(settings, faint_limit=args.faint_limit)
    report = stage.make_todo(folder, selection(args), settings, args.overwrite)
    say(*report.lines())
    return SOME_FAILED if report.failed else DONE
