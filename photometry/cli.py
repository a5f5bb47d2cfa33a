"""Every command, as the four scripts and as sub-commands of `tessphot`."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from photometry import __version__, methods
from photometry.cli_care import doctor, merge_todo
from photometry.cli_results import plot, report, validate
from photometry.console import (
    DONE,
    INTERRUPTED,
    SOME_FAILED,
    UNUSABLE,
    add_folders,
    add_overwrite,
    add_profile,
    add_selection,
    command,
    input_folder,
    is_shipped,
    logger,
    new_parser,
    output_folder,
    prf_folder,
    progress_for,
    refuse_shipped,
    say,
    section_names,
    selection,
    settings_of,
    stopping,
    workers_of,
)
from photometry.core.errors import InputError, UsageError
from photometry.core.ids import Select
from photometry.core.outcome import Status
from photometry.core.settings import fingerprint, to_toml

MAX_VERSION = 99          # of data releases: two digits in file names
FAILED = (Status.ERROR, Status.ABORT)

# run_make_catalog.py.


def make_catalog(argv: Sequence[str] | None = None, beside: Path | None = None) -> int:
    """Make star catalogs."""
    parser = new_parser("run_make_catalog.py", "Make the star catalogs of a sector, one per CCD.",
                        "run_make_catalog.py 1 data --source tic.csv.gz --camera 1 --ccd 4\n"
                        "  run_make_catalog.py 1 data --source mast --targets mine.csv\n"
                        "  run_make_catalog.py 1 data --source "
                        "'postgresql://me@host/db?table=tic_82'")
    parser.add_argument("sector", type=int, metavar="SECTOR")
    add_folders(parser)
    add_selection(parser, sector=False, cadence=False)
    parser.add_argument("--source", metavar="SOURCE",
                        help="table with MAST column names of any kind that astropy or "
                             "pyarrow reads, folder of them or of TIC bulk files, mast, or "
                             "postgresql://HOST/DATABASE?table=NAME (default: INPUT/catalogs)")
    parser.add_argument("--supplement", type=Path, metavar="FILE_OR_DIR",
                        help="table of the Gaia archive: add the stars that the source lacks")
    parser.add_argument("--targets", type=Path, metavar="FILE",
                        help="your targets, TIC numbers or ra, dec, tmag, name: add those that "
                             "the source lacks")
    parser.add_argument("--near-targets", type=float, metavar="DEG",
                        help="keep only stars this close to one of the targets")
    parser.add_argument("--buffer", type=float, metavar="DEG",
                        help="stars this far outside the CCD are kept (default 0.2)")
    add_profile(parser)
    parser.add_argument("--footprint", choices=("ffi", "wcs"),
                        help="from the images in INPUT or from the table of pointings "
                             "(default: ffi if there are images)")
    add_overwrite(parser)
    return command(parser, lambda args: _make_catalog(args, beside), argv)


def _make_catalog(args: argparse.Namespace, beside: Path | None) -> int:
    from photometry.stages import make_catalog as stage
    folder = input_folder(args, beside)
    refuse_shipped(folder, beside)
    settings = settings_of(args, "catalog")["catalog"]
    if args.buffer is not None:
        settings = replace(settings, buffer_deg=args.buffer)
    additions = stage.Additions(args.supplement, args.targets, args.near_targets)
    reports = stage.make_catalogs(args.sector, folder, args.source, selection(args), settings,
                                  args.footprint, args.overwrite, additions, progress_for(args),
                                  args.profile)
    say(*(line for report in reports for line in report.lines()))
    return DONE


# run_prepare_photometry.py.


def prepare_photometry(argv: Sequence[str] | None = None, beside: Path | None = None) -> int:
    """Build pixel cubes."""
    parser = new_parser("run_prepare_photometry.py", "Restructure calibrated full-frame images "
                        "into one pixel cube per CCD, with background and motion; under "
                        "mpiexec, with all ranks.",
                        "run_prepare_photometry.py data --workers 4 --max-memory 8\n"
                        "  mpiexec -n 8 python run_prepare_photometry.py data")
    add_folders(parser)
    add_selection(parser)
    parser.add_argument("--origin", metavar="NAME",
                        help="use the images of this origin only, such as SPOC")
    add_profile(parser)
    parser.add_argument("--workers", type=int, metavar="N",
                        help="processes (default: all CPUs that are allowed)")
    parser.add_argument("--max-memory", type=float, default=4.0, metavar="GB",
                        help="of all processes together (default 4)")
    parser.add_argument("--quantize", type=float, metavar="SIGMA",
                        help="store flux in steps of at most SIGMA errors: 0.25 makes the cube 3 "
                             "times smaller and adds up to 0.3 %% of noise (default 0 = exactly)")
    parser.add_argument("--ephemeris", type=Path, metavar="FILE",
                        help="where the spacecraft was, for times right to 1 ms: a table of JPL's "
                             "Horizons, or a SPICE kernel (.bsp)")
    parser.add_argument("--quaternions", type=Path, metavar="FILE_OR_DIR",
                        help="how the spacecraft shook: tables of TessVectors (default: jitter "
                             "is measured on stars)")
    parser.add_argument("--exclude", type=Path, metavar="FILE.toml",
                        help="regions and stretches of time that are not to be used, besides "
                             "those that come with the program (see docs/data-model.md)")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    add_overwrite(parser)
    return command(parser, lambda args: _prepare_photometry(args, beside), argv)


def _prepare_photometry(args: argparse.Namespace, beside: Path | None) -> int:
    from photometry.workers import crew
    with crew(workers_of(args), _mpi_size() > 1) as workers:
        return DONE if workers is None else _prepare_master(args, beside, workers)


def _prepare_master(args: argparse.Namespace, beside: Path | None, crew: Any) -> int:
    from photometry.io import layout
    from photometry.stages import prepare as stage
    from photometry.stages.prepare_flags import with_transferred_flags
    from photometry.workers import each
    folder = input_folder(args, beside)
    refuse_shipped(folder, beside)
    choices = stage.Choices(**settings_of(args, "prepare", "background", "changes", "stars",
                                           "wings", "anomalies"))
    if args.quantize is not None:
        if not 0 <= args.quantize <= 1:
            raise UsageError(f"--quantize {args.quantize}: expected 0 to 1")
        choices = replace(choices, prepare=replace(choices.prepare, quantize=args.quantize))
    progress, draw, workers = progress_for(args), partial(each, crew), crew.capacity
    readers = stage.readers(workers, args.max_memory)
    groups = with_transferred_flags(
        stage.plan(folder, selection(args), args.origin, progress, draw, readers, args.profile),
        folder)
    crew.rest()
    unusable, left_out = [], 0
    for group in groups:
        say(f"{group.ccd}: {group}")
        if args.dry_run:
            say(f"  {stage.needs_of(group, workers)}")
            continue
        try:
            catalog = layout.catalog_path(folder, group.ccd)
            if not catalog.exists():
                say(f"  no {catalog.name}: the level of the background will be less accurate")
                catalog = None
            report = stage.prepare(group, layout.cube_path(folder, group.ccd), choices,
                                   draw=draw, workers=workers, max_memory_gb=args.max_memory,
                                   overwrite=args.overwrite, ephemeris=args.ephemeris,
                                   quaternions=args.quaternions, catalog=catalog,
                                   exclude=args.exclude, progress=progress)
        except InputError as problem:
            unusable.append(problem)      # the other CCDs can go on
            continue
        say(*(f"  {text}" for text in report.warnings))
        say(*(f"  left out {name}: {reason}" for name, reason in report.left_out))
        there = (" (there already)" if report.was_complete else
                 f" ({report.n_known} of them were there already)" if report.n_known else "")
        say(f"  {report.n_frames} frames in {report.path}{there}")
        left_out += len(report.left_out)
    if len(unusable) == len(groups):
        raise unusable[0]
    for problem in unusable:
        logger.error(str(problem))
    return SOME_FAILED if unusable or left_out else DONE


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
    parser.add_argument("-m", "--method", choices=methods.names(),
                        help="force one method for all")
    parser.add_argument("--aperture", type=Path, action="append", default=[], metavar="FILE",
                        help="sum these pixels for the stars in the file: CSV starid,row,column, "
                             "or FITS masks; may be repeated")
    parser.add_argument("--prf", type=Path, metavar="DIR",
                        help="the mission's PRF models, or the word stars: measured on those of "
                             "the cube, or average: a simple profile (default: $TESSPHOT_PRF, "
                             "else stars)")
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
    with crew(workers_of(args), _mpi_size() > 1, settings.deadline_s,
              ["photometry.stages.worker_start"]) as workers:
        return DONE if workers is None else _tessphot_master(args, beside, workers)


def _mpi_size() -> int:
    """Return the number of ranks that an MPI launcher says it started."""
    names = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
    given = (os.environ.get(name, "") for name in names)
    return max((int(size) for size in given if size.isdecimal()), default=1)


def _tessphot_master(args: argparse.Namespace, beside: Path | None, workers: Any) -> int:
    from photometry.io.todo import Todo
    from photometry.stages import accounts_plan
    from photometry.stages import tessphot as stage
    folder = input_folder(args, beside)
    shipped = is_shipped(folder, beside)
    run = _run_of(args, folder, shipped)
    with Todo(folder, in_memory=shipped) as todo:
        select = stage.choose(todo, _target_selection(args), again=args.overwrite,
                              at_random=args.random, runs=run.settings.runs)
        if args.dry_run:
            say(*accounts_plan.plan(todo, run, select, workers.capacity))
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
    from photometry.stages import accounts
    from photometry.stages import tessphot as stage
    from photometry.stages.monitor import Monitor
    from photometry.stages.stray import stray_files
    from photometry.workers import pull
    draw = partial(pull, workers, ahead=run.settings.tiles_ahead)
    explain = bool(select.starids or select.priorities)
    with Monitor(todo, run, workers.capacity) as monitor, \
            stopping(run.settings.drain_s) as stop:
        results = [result for result in
                   stage.photometry(todo, run, select, draw, progress_for(args),
                                    monitor.watch, stop, workers.capacity)
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
        rules=sections["choice"])


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
    parser.add_argument("--targets", type=Path, metavar="FILE",
                        help="only these: TIC numbers or ra, dec, name; of any magnitude")
    add_overwrite(parser)
    return command(parser, lambda args: _make_todo(args, beside), argv)


def _make_todo(args: argparse.Namespace, beside: Path | None) -> int:
    from photometry.stages import make_todo as stage
    folder = input_folder(args, beside)
    refuse_shipped(folder, beside)
    settings = settings_of(args, "todo")["todo"]
    if args.faint_limit is not None:
        settings = replace(settings, faint_limit=args.faint_limit)
    report = stage.make_todo(folder, selection(args), settings, args.overwrite, args.targets)
    say(*report.lines())
    return SOME_FAILED if report.failed else DONE


# The console command.


def simulate(argv: Sequence[str] | None = None) -> int:
    """Simulate images, star list and truth."""
    parser = new_parser("tessphot simulate", "Write full-frame images in the mission's format, a "
                        "star list, and the truth behind them.",
                        "tessphot simulate data --size 256x200 --frames 60 --jitter --variables\n"
                        "  tessphot simulate data --frames 0 --troubles --momentum-dumps")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder; may hold other CCDs")
    parser.add_argument("--size", metavar="COLUMNSxROWS", type=_size, help="default 256x200")
    parser.add_argument("--place", metavar="ROW,COLUMN", type=_place, dest="origin",
                        help="first science pixel of the window (default 1000,900)")
    for name, unit, text in (
            ("frames", "N", "images (default 60; 0 = the whole sector)"),
            ("seed", "N", "same seed, same bytes"),
            ("cadence", "SECONDS", "1800, 600 or 200 (default 1800)"),
            ("stars", "N", "stars of Tmag 4-16 (default: by density)"),
            ("sector", "N", ""), ("camera", "N", ""), ("ccd", "N", ""),
            ("tpf-cadence", "SECONDS", "of target pixel files, 120 or 20 (default 120)")):
        parser.add_argument(f"--{name}", type=int, metavar=unit, help=text)
    for name, text in (("density", "stars per square degree"),
                       ("tmag-error", "share of stars listed with a wrong magnitude"),
                       ("missing", "share of stars that the list lacks"),
                       ("wcs-error-px", "how far off the headers' coordinates are")):
        parser.add_argument(f"--{name}", type=float, metavar="X", help=text)
    for name, text in (("crowded", "five times the stars, some in a cluster"),
                       ("scattered-light", "ramps, a moving patch and a corner glow"),
                       ("jitter", "pointing noise and differential velocity aberration"),
                       ("momentum-dumps", "with their quality bits and broadened images"),
                       ("troubles", "a step between orbits, coarse pointing, a ramp into "
                        "saturation, missing and empty images"),
                       ("variables", "transits, eclipses, pulsators"),
                       ("tpf", "also target pixel files of the brightest stars"),
                       ("tica", "images as TICA's product, in electrons, without errors or flags"),
                       ("gzip", "write .fits.gz")):
        parser.add_argument(f"--{name}", action="store_true", default=None, help=text)
    parser.add_argument("--prf", metavar="DIR", help="the mission's PRF models")
    parser.add_argument("--catalog", metavar="FILE", help="star list instead of random stars")
    return command(parser, _simulate, argv)


def _size(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    return int(columns), int(rows)


def _place(text: str) -> tuple[int, int]:
    row, _, column = text.partition(",")
    return int(row), int(column)


def _simulate(args: argparse.Namespace) -> int:
    from photometry.stages import simulate as stage
    settings = settings_of(args, "simulate")["simulate"]
    given = vars(args) | {"cadence_s": args.cadence, "tpf_cadence_s": args.tpf_cadence}
    settings = replace(settings, **{field.name: given[field.name] for field in fields(settings)
                                    if given.get(field.name) is not None})
    stage.simulate(args.out, settings, progress_for(args))
    say(f"simulated sector: {args.out}")
    return DONE


def settings(argv: Sequence[str] | None = None) -> int:
    """Print the effective settings."""
    parser = new_parser("tessphot settings", "Print the effective settings as TOML.",
                        "tessphot settings > my.toml")
    return command(parser, _settings, argv)


def _settings(args: argparse.Namespace) -> int:
    say(to_toml(settings_of(args, *section_names())).rstrip())
    return DONE


COMMANDS = {"simulate": simulate, "catalog": make_catalog, "prepare": prepare_photometry,
            "todo": make_todo, "run": tessphot, "report": report, "plot": plot,
            "validate": validate, "settings": settings,
            "doctor": doctor, "merge-todo": merge_todo}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command of `tessphot`."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        "tessphot", description="Light curves from TESS full-frame images.",
        epilog="example:\n  tessphot simulate data --frames 60\n\n"
               "tessphot COMMAND --help tells more of each command.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"tess-photometry {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND",
                        help="\n".join(f"{name}: {function.__doc__}"
                                       for name, function in COMMANDS.items()))
    chosen = parser.parse_args(given[:1]).command
    return COMMANDS[chosen](given[1:])
