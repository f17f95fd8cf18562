# Sourced by the batch files: runs a command and, when the job's time is nearly up, stops it and puts the job back into
# the queue. The same command then goes on from what is finished.
run_and_resume() {
    "$@" &
    local worker=$!
    trap 'stop_and_requeue '"$worker" USR1
    wait "$worker"
}

stop_and_requeue() {
    trap '' USR1
    # Not INT, which bash lets what it runs in the background ignore. Finished batches and checkpoints are on the disk.
    kill -TERM "$1" 2>/dev/null
    wait "$1"
    scontrol requeue "${SLURM_JOB_ID}"
    exit 0
}
