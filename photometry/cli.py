"""Every command, as the four scripts and as sub-commands of `tessphot`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from photometry import __version__
from photometry.cli_care import doctor, merge_todo
from photometry.cli_results import plot, report, validate
from photometry.cli_tessphot import tessphot
from photometry.console import (
    DONE,
    SOME_FAILED,
    add_folders,
    add_overwrite,
    add_prf,
    add_profile,
    add_selection,
    command,
    input_folder,
    logger,
    mpi_size,
    new_parser,
    number,
    prf_folder,
    progress_for,
    refuse_shipped,
    say,
    section_names,
    selection,
    settings_of,
    workers_of,
)
from photometry.core.errors import InputError, UsageError
from photometry.core.ids import CcdId
from photometry.core.progress import Progress
from photometry.core.settings import to_toml
from photometry.core.work import Draw

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
    parser.add_argument("--near-targets", type=number, metavar="DEG",
                        help="keep only stars this close to one of the targets")
    parser.add_argument("--buffer", type=number, metavar="DEG",
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
    parser.add_argument("--max-memory", type=number, default=4.0, metavar="GB",
                        help="of all processes together (default 4)")
    parser.add_argument("--quantize", type=number, metavar="SIGMA",
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
    add_prf(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    add_overwrite(parser)
    return command(parser, lambda args: _prepare_photometry(args, beside), argv)


def _prepare_photometry(args: argparse.Namespace, beside: Path | None) -> int:
    from photometry.workers import crew
    modules = ["photometry.stages.prepare", "photometry.stages.prfs"]
    with crew(workers_of(args), mpi_size() > 1, modules=modules) as workers:
        return DONE if workers is None else _prepare_master(args, beside, workers)


def _prepare_master(args: argparse.Namespace, beside: Path | None, crew: Any) -> int:
    from photometry.io import layout
    from photometry.stages import prepare as stage
    from photometry.stages.prepare_flags import with_transferred_flags
    from photometry.workers import each
    folder, prf = input_folder(args, beside), prf_folder(args)
    refuse_shipped(folder, beside)
    if args.max_memory <= 0:
        raise UsageError(f"--max-memory {args.max_memory}: expected more than 0")
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
    unusable, left_out, built = [], 0, []
    for group in groups:
        say(f"{group.ccd}: {group}")
        if args.dry_run:
            at_most = stage.affordable(group, workers, args.max_memory)
            say(f"  {stage.needs_of(group, at_most, choices.prepare.quantize)}")
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
        built.append(group.ccd)
    _keep_prfs(prf, folder, built, draw, progress, args.max_memory)
    if len(unusable) == len(groups):
        raise unusable[0]
    for problem in unusable:
        logger.error(str(problem))
    return SOME_FAILED if unusable or left_out else DONE


def _keep_prfs(prf: Path | None, folder: Path, ccds: Sequence[CcdId], draw: Draw,
               progress: Progress, max_memory_gb: float) -> None:
    """Have the PRFs of new cubes measured, so that no run of photometry has to wait for them."""
    from photometry.stages.prfs import MEMORY_GB, store_prf, unmeasured
    wanted = unmeasured(prf, ccds, folder)
    if wanted:
        at_most = max(1, int(max_memory_gb / MEMORY_GB))
        say(*progress(draw(partial(store_prf, prf, folder, folder), wanted, at_most),
                      len(wanted), "measuring PRFs"))


# run_make_todo.py.


def make_todo(argv: Sequence[str] | None = None, beside: Path | None = None) -> int:
    """Make the to-do list."""
    parser = new_parser("run_make_todo.py", "Make the list of targets of the cubes and target "
                        "pixel files in a folder.", "run_make_todo.py --faint-limit 14 data")
    add_folders(parser)
    add_selection(parser)
    parser.add_argument("--faint-limit", type=number, metavar="TMAG",
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
                       ("wcs-error-px", "how far off the headers' coordinates are"),
                       ("strap-stars", "share of light that stars gain over straps "
                        "(default 0.003)")):
        parser.add_argument(f"--{name}", type=number, metavar="X", help=text)
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
    return _pair(text, "x", "COLUMNSxROWS, such as 256x200")


def _place(text: str) -> tuple[int, int]:
    return _pair(text, ",", "ROW,COLUMN, such as 1000,900")


def _pair(text: str, between: str, expected: str) -> tuple[int, int]:
    first, _, second = text.partition(between)
    try:
        return int(first), int(second)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}") from error


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
        formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", action="version", version=f"tess-photometry {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND",
                        help="\n".join(f"{name:10s}  {function.__doc__}"
                                       for name, function in COMMANDS.items()))
    chosen = parser.parse_args(given[:1]).command
    return COMMANDS[chosen](given[1:])
