#!/usr/bin/env bash
# What `make test-gpu` does: whether a GPU computes right, then how fast. Nothing is installed but into a folder of its own.
#   PYTHON  the interpreter whose torch sees the GPU (.venv/bin/python where there is one, else python3)
#   WHEELS  a folder of wheels that are to be had beside its packages; no index is asked
#   OUT     where the table of rates and what was said go (results/gpu, and nowhere)
# Arguments: right, fast, or none for both.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
site=""
if [ -n "${WHEELS:-}" ]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install --quiet --no-index --find-links "$WHEELS" --no-deps --target "$site" "$WHEELS"/*.whl
fi
export PYTHONPATH="$PWD${site:+:$site}${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
failed=0
for part in "${@:-right fast}"; do
  for name in $part; do
    said=${OUT:+$OUT/$name.txt}
    "$python" -m pytest --confcutdir tests/gpu -p no:cacheprovider -q -rs -s --durations=5 "tests/gpu/test_$name.py" 2>&1 \
      | tee "${said:-/dev/null}" || failed=1
  done
done
exit $failed
