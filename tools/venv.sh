#!/bin/sh
# Make a virtual environment for one interpreter and fill it with the pinned requirements: venv.sh PYTHON FOLDER
set -eu
python=$1 folder=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "outlay needs Python 3.11 or newer; $python is $("$python" --version). Set PYTHON=/path/to/python3.11" >&2
    exit 1
}
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian ships venv's pip in a package of its own.
    echo "installing python3-venv, which $python lacks" >&2
    if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
    $sudo apt-get update -q
    $sudo apt-get install -yq python3-venv
fi
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --require-hashes -r requirements/dev.txt
"$folder/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e .
touch "$folder/.installed"
