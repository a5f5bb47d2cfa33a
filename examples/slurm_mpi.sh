#!/bin/bash
# All stars of a to-do list on as many cores as you ask for:
#   sbatch --export=ALL,TESSPHOT_INPUT=/path/to/images,TESSPHOT_OUTPUT=/path/to/lightcurves slurm_mpi.sh
#SBATCH --job-name=tessphot
#SBATCH --ntasks=64
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --open-mode=append
#SBATCH --requeue
# Three minutes before the time is over the run is told to save what it has.
#SBATCH --signal=USR1@180

set -u
: "${TESSPHOT_INPUT:?say where the images are}" "${TESSPHOT_OUTPUT:?say where light curves go}"
export OMP_NUM_THREADS=1            # parallel by processes

srun tessphot run --all --log-dir "$TESSPHOT_OUTPUT/logs"
code=$?
# 75 means "run me again"; above 128 a signal ended it, and what was saved is kept.
if [ "$code" -eq 75 ] || [ "$code" -gt 128 ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ]; then
        scontrol requeue "$SLURM_JOB_ID"
    fi
fi
exit "$code"
