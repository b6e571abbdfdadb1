#!/usr/bin/env bash
# Prepare the packages and measure on the GPU, in one command:
#
#   bash benchmarks/gpu/run.sh [--wheels DIR] [--installed] --model MODEL.onnx -o OUT/ [options of measure.py]
#
# The packages go into runs/gpu-packages (git ignores it) and precbench is run from toolkit/, both by way of PYTHONPATH:
# no environment is made or changed, nothing is built, and the second call installs nothing.
#
#   --wheels DIR   a machine without a network: install from this folder only (pip --no-index). Wheels in pieces
#                  (wheel_pieces.py) are joined first. NVIDIA's own libraries are taken from DIR where it has them, else
#                  they must be on the machine.
#   --installed    install nothing: use what the Python in use has.
#
# PYTHON names another Python than python3; 3.11 or newer.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
packages=$root/runs/gpu-packages
wheels='' installed='' rest=()

while (($#)); do
    case $1 in
    --wheels)
        wheels=${2:?"--wheels needs a folder"}
        shift 2
        ;;
    --installed)
        installed=yes
        shift
        ;;
    *)
        rest+=("$1")
        shift
        ;;
    esac
done

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $python is older than Python 3.11" >&2
    echo "  try: PYTHON=python3.12 bash benchmarks/gpu/run.sh …" >&2
    exit 2
}

# Install into a new folder, and give it its name when it is whole.
install() {
    local extras='onnxruntime-gpu[cuda,cudnn]' from=()
    if [[ -n $wheels ]]; then
        [[ -d $wheels ]] || {
            echo "error: there is no folder $wheels" >&2
            echo "  try: name the folder with the wheels" >&2
            exit 2
        }
        from=(--no-index --find-links "$wheels")
        if compgen -G "$wheels/*.whl.00" >/dev/null; then
            mkdir -p "$root/runs/gpu-wheels"
            "$python" "$here/wheel_pieces.py" join "$wheels" -o "$root/runs/gpu-wheels"
            from+=(--find-links "$root/runs/gpu-wheels")
        fi
        compgen -G "$wheels/nvidia_cudnn*" >/dev/null || extras='onnxruntime-gpu'
    fi
    rm -rf "$packages.new"
    "$python" -m pip install --disable-pip-version-check --quiet "${from[@]}" --target "$packages.new" \
        -r "$here/requirements.txt" "$extras"
    rm -rf "$packages"
    mv "$packages.new" "$packages"
    rm -rf "$root/runs/gpu-wheels"
}

paths=$root/toolkit
if [[ -z $installed ]]; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    stamp="$version $(cksum <"$here/requirements.txt")"
    if [[ "$(cat "$packages/.made" 2>/dev/null)" != "$stamp" ]]; then
        install
        echo "$stamp" >"$packages/.made"
    fi
    paths=$packages:$paths
fi

export PYTHONPATH=$paths${PYTHONPATH:+:$PYTHONPATH}
exec "$python" "$here/measure.py" "${rest[@]}"
