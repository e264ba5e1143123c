#!/bin/bash
# One training on several machines under Slurm: one task per machine, in which torchrun starts one process per GPU.
#
#   sbatch recipes/slurm.sh ffgan data=data/cub encoder=encoders/damsm-cub
#   sbatch --nodes 4 --gpus-per-node 8 recipes/slurm.sh ffgan --resume runs/0007-ffgan-cub
#
# Everything after the script's name is a command line of `gancli train`. Data, encoder and run folders lie on a file
# system that all machines share; process 0, on the first machine, writes and speaks. A step takes
# machines × GPUs × loader.batch images, so a learning rate that was chosen for one GPU may want to grow.

#SBATCH --job-name=gancli
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
# Five minutes before the time is up every task gets SIGUSR1: gancli then saves a checkpoint and ends with 143.
#SBATCH --signal=USR1@300
# Partition, account and memory are your cluster's: add them here or on sbatch's command line.

set -euo pipefail

# Where gancli is installed, if it is not on the PATH of the machines already:
# source /path/to/venv/bin/activate

if (($# == 0)); then
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
fi

gpus=${SLURM_GPUS_ON_NODE:-1}
# Threads of each process, so that those of one machine share its cores.
export OMP_NUM_THREADS=$((${SLURM_CPUS_PER_TASK:-$gpus} / gpus > 0 ? ${SLURM_CPUS_PER_TASK:-$gpus} / gpus : 1))
# The processes meet at the first machine; a port of the job's own lets two jobs share a machine.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((12000 + SLURM_JOB_ID % 20000))

# torchrun hands Slurm's SIGUSR1 on to the processes, and gives them four minutes to save.
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 PET_SHUTDOWN_TIMEOUT=240

# --kill-on-bad-exit: a machine that fails takes the others down, instead of leaving them to wait.
srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_JOB_NUM_NODES" \
    --nproc-per-node "$gpus" \
    --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d \
    --rdzv-endpoint "$head:$port" \
    -m gancli train "$@"

# The same without torchrun, with one task per GPU: gancli reads its place from Slurm's own variables.
# srun --ntasks-per-node "$gpus" --gpus-per-task 1 --cpus-per-task … --kill-on-bad-exit=1 gancli train "$@"
