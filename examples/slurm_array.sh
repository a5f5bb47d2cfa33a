#!/bin/bash
# One job per CCD, without MPI; each has a copy of the to-do list, because a list has one writer:
#   sbatch --export=ALL,TESSPHOT_INPUT=/path/to/images,TESSPHOT_OUTPUT=/path/to/lightcurves slurm_array.sh
# When all are done:
#   tessphot merge-todo "$TESSPHOT_OUTPUT"/parts/*/todo.sqlite --into "$TESSPHOT_OUTPUT/todo.sqlite"
#SBATCH --job-name=tessphot
#SBATCH --array=0-15
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=USR1@180

set -eu
: "${TESSPHOT_INPUT:?say where the images are}" "${TESSPHOT_OUTPUT:?say where light curves go}"
export OMP_NUM_THREADS=1
camera=$((SLURM_ARRAY_TASK_ID / 4 + 1))
ccd=$((SLURM_ARRAY_TASK_ID % 4 + 1))

part="$TESSPHOT_OUTPUT/parts/$camera-$ccd"
mkdir -p "$part"
for path in "$TESSPHOT_INPUT"/*; do
    case "${path##*/}" in
        todo.sqlite*|status.json) ;;
        *) ln -sfn "$path" "$part/" ;;
    esac
done
if [ ! -e "$part/todo.sqlite" ]; then
    cp "$TESSPHOT_INPUT/todo.sqlite" "$part/todo.sqlite.part"
    mv "$part/todo.sqlite.part" "$part/todo.sqlite"
fi

code=0
srun tessphot run --all --camera "$camera" --ccd "$ccd" --workers "${SLURM_CPUS_PER_TASK:-1}" \
    --output "$TESSPHOT_OUTPUT" --log-dir "$TESSPHOT_OUTPUT/logs" "$part" || code=$?
if [ "$code" -eq 75 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
