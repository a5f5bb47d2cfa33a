"""The command `run_tessphot.py`."""

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from photometry import __version__, methods
from photometry.console import (
    DONE,
    INTERRUPTED,
    SOME_FAILED,
    UNUSABLE,
    add_folders,
    add_overwrite,
    add_prf,
    add_selection,
    command,
    input_folder,
    is_shipped,
    logger,
    mpi_size,
    new_parser,
    number,
    output_folder,
    prf_folder,
    progress_for,
    say,
    selection,
    settings_of,
    stopping,
    workers_of,
)
from photometry.core.errors import UsageError
from photometry.core.ids import Select
from photometry.core.settings import fingerprint, to_toml

MAX_VERSION = 99          # of data releases: two digits in file names
N_NAMED = 10              # stars that a line names


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
    parser.add_argument("--tmag-min", "--tmag_min", type=number, metavar="TMAG")
    parser.add_argument("--tmag-max", "--tmag_max", type=number, metavar="TMAG")
    parser.add_argument("-m", "--method", choices=methods.names(),
                        help="force one method for all")
    parser.add_argument("--aperture", type=Path, action="append", default=[], metavar="FILE",
                        help="sum these pixels for the stars in the file: CSV starid,row,column, "
                             "or FITS masks; may be repeated")
    add_prf(parser)
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="default: $TESSPHOT_OUTPUT, else INPUT/lightcurves")
    parser.add_argument("--version", type=int, default=1, metavar="N",
                        help="data release version in file names (default 1)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="local processes")
    parser.add_argument("--log-dir", type=Path, metavar="DIR",
                        help="each process or rank writes a log of its own there")
    parser.add_argument("--no-gzip", action="store_true", help="write .fits, not .fits.gz")
    parser.add_argument("--bulk", action="store_true",
                        help="write one HDF5 file for each CCD instead of a file for each star")
    parser.add_argument("-p", "--plot", action="store_true", help="save figures of each star")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    add_overwrite(parser)
    return parser


def _tessphot(args: argparse.Namespace, beside: Path | None) -> int:
    from photometry.workers import crew
    settings = settings_of(args, "tessphot")["tessphot"]
    if not 1 <= args.version <= MAX_VERSION:
        raise UsageError(f"--version {args.version}: expected 1 to {MAX_VERSION}")
    modules = ["photometry.stages.worker_start"]
    with crew(workers_of(args), mpi_size() > 1, settings.deadline_s, modules) as workers:
        return DONE if workers is None else _tessphot_master(args, beside, workers)


def _tessphot_master(args: argparse.Namespace, beside: Path | None, workers: Any) -> int:
    from photometry.io.todo import Todo
    from photometry.stages import accounts_plan
    from photometry.stages.rounds import choose
    folder = input_folder(args, beside)
    shipped = is_shipped(folder, beside)
    run = _run_of(args, folder, shipped)
    with Todo(folder, in_memory=shipped or args.dry_run) as todo:
        _tell_unlisted(todo, run.apertures)
        rates = todo.rates(run.method)
        select = choose(todo, _target_selection(args), again=args.overwrite,
                        at_random=args.random, runs=run.settings.runs)
        if args.dry_run:
            say(*accounts_plan.plan(todo, run, select, workers.capacity, rates))
            return DONE
        used = {f"methods.{name}": group for name, group in run.method_settings.items()}
        used |= {"tessphot": run.settings, "choice": run.rules}
        todo.begin_run(__version__, to_toml(used))
        code = UNUSABLE
        try:
            code = _measure(args, todo, run, select, workers)
        except KeyboardInterrupt:
            code = INTERRUPTED
            raise
        finally:
            todo.end_run(code)
    return code


def _measure(args: argparse.Namespace, todo: Any, run: Any, select: Select, workers: Any) -> int:
    """Measure the selected targets and tell what became of them."""
    from photometry.core.outcome import FAILED
    from photometry.stages import accounts
    from photometry.stages.monitor import Monitor
    from photometry.stages.rounds import photometry
    from photometry.stages.stray import stray_files
    from photometry.workers import pull
    draw = partial(pull, workers, ahead=run.settings.tiles_ahead)
    explain = bool(select.starids or select.priorities)
    with Monitor(todo, run, workers.capacity, select) as monitor, \
            stopping(run.settings.drain_s) as stop:
        results = [result for result in
                   photometry(todo, run, select, draw, progress_for(args), monitor.watch, stop,
                              workers.capacity)
                   if explain or result.status in FAILED]
        interrupted = stop()
        monitor.tell("interrupted" if interrupted else "done")
    failed = [result for result in results if result.status in FAILED]
    if explain:
        say(*(line for result in results for line in accounts.story(result, args.debug)))
    stray = () if explain or interrupted else stray_files(todo, run.output, select)
    say(*accounts.account(todo, select, failed, run.output, stray))
    if interrupted:
        logger.warning("stopped as asked: run the same command again to do the rest")
        return INTERRUPTED
    return SOME_FAILED if failed else DONE


def _run_of(args: argparse.Namespace, folder: Path, shipped: bool) -> Any:
    from photometry.io.apertures import read_apertures
    from photometry.stages import tessphot as stage
    apertures = read_apertures(args.aperture)
    given = [(starid, pixels.tolist()) for starid, pixels in sorted(apertures.items())]
    names = methods.names()
    sections = settings_of(args, "tessphot", "choice", *(f"methods.{name}" for name in names))
    method_settings = {name: sections[f"methods.{name}"] for name in names}
    return stage.Run(
        folder, output_folder(args, folder, shipped), sections["tessphot"], method_settings,
        args.method, args.version, not args.no_gzip, args.bulk, args.plot,
        # Not how the work is shared out:
        fingerprint=fingerprint(sections["tessphot"].attempts, sections["choice"],
                                *method_settings.values(), args.method, *given),
        date=_date(), log_dir=args.log_dir, prf=prf_folder(args), apertures=apertures,
        rules=sections["choice"], explain=args.debug)


def _tell_unlisted(todo: Any, apertures: Iterable[int]) -> None:
    """Name the stars with an aperture that no run measures, as the list lacks them."""
    unlisted = [starid for starid in apertures if not todo.count(Select(starids=(starid,)))]
    if unlisted:
        logger.warning("%d stars with an aperture are not in %s: TIC %s%s", len(unlisted),
                       todo.path, ", ".join(map(str, unlisted[:N_NAMED])),
                       " ..." * (len(unlisted) > N_NAMED))


def _date() -> str:
    """Return what DATE cards say: now, or SOURCE_DATE_EPOCH for files that must be equal."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S")


def _target_selection(args: argparse.Namespace) -> Select:
    return replace(selection(args), starids=tuple(args.starid), priorities=tuple(args.priority),
                   datasource=args.datasource, tmag_min=args.tmag_min, tmag_max=args.tmag_max)
