#!/bin/sh
# Trains slmd-home-3m from nothing: data, tokenizer, model, checkpoint. See scripts/train/README.md.
#
#   PYTHON   a Python that has the packages of requirements.txt; without it a `.venv` is made
#   SEED     of the data and of the training (1)
#   LINES    of training data (900000)
#   STEPS    of training (15000)
#   OUT      directory of the checkpoint (models/slmd-home-3m/checkpoint)
set -eu
cd "$(dirname "$0")/../.."

SEED="${SEED:-1}"
LINES="${LINES:-900000}"
STEPS="${STEPS:-15000}"
OUT="${OUT:-models/slmd-home-3m/checkpoint}"
DATA=".cache/train-seed-$SEED"
NODE="node_modules/.bin/node"

[ -x "$NODE" ] || npm ci
if [ -z "${PYTHON:-}" ]; then
  PYTHON=".venv/bin/python"
  [ -x "$PYTHON" ] || python3 -m venv .venv
  "$PYTHON" -m pip install --quiet --requirement scripts/train/requirements.txt
fi

# Batches of many lengths make glibc give memory back and fetch it again at every step: a third of the time.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=268435456
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1

"$NODE" scripts/train/generate.ts --seed "$SEED" --lines "$LINES" --out "$DATA"
"$PYTHON" scripts/train/train.py --data "$DATA" --out "$OUT" --seed "$SEED" --steps "$STEPS"
"$PYTHON" scripts/train/check.py --checkpoint "$OUT"
