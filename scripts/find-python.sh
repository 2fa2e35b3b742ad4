#!/bin/sh
# Print the Python that kvmdecl's virtual environment is made of: $PYTHON, or the first that is 3.11 or newer. The
# distribution's own comes first: its headers are a package, and it is built to run a fifth faster than most others are.
set -eu

for candidate in ${PYTHON:-} ${SYSTEM_PYTHON-/usr/bin/python3} python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "$candidate"
        exit 0
    fi
done
echo "There is no Python 3.11 or newer here. Install one, or name it: make PYTHON=/path/to/python3 ..." >&2
exit 1
