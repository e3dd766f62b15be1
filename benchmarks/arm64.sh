#!/usr/bin/env bash
# Do the light install's wheels exist for 64-bit ARM, and does the packaged model give the same scores there?
#
#   benchmarks/arm64.sh FOLDER             all steps; FOLDER keeps what was downloaded (0.5 GB), and the results
#   benchmarks/arm64.sh --dry-run FOLDER   prints them only
#   CPUS='cortex-a72' benchmarks/arm64.sh FOLDER
#
# Needs Debian or Ubuntu with qemu-user-static and debian-archive-keyring, a network, and a Python with lifeiqa[export]
# (PYTHON; without it .venv/bin/python). Nothing of the system is changed. ARM programs are emulated: this measures no
# speed. Takes about 10 minutes for each CPU. Exit codes: 0 all checks pass, 2 usage, 3 something is missing, 4 a check
# fails.
set -euo pipefail
shopt -s inherit_errexit

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-$repository/.venv/bin/python}
# Of each kind of processor that ONNX Runtime has other kernels for: without dotprod, with it, with i8mm, with SVE2.
CPUS=${CPUS:-cortex-a72 neoverse-n1 max,sve=off,sme=off max}
SUITE=bookworm ROOT_PYTHON=3.11 # Debian's, and the Python that it has
PYTHONS="3.11 3.12"             # whose wheels are looked for

fail() {
    printf 'error: %s\n' "$2" >&2
    exit "$1"
}

dry_run=
if [ "${1:-}" = --dry-run ]; then
    dry_run=1
    shift
fi
if [ $# -ne 1 ] || [ "${1#-}" != "$1" ]; then fail 2 "usage: benchmarks/arm64.sh [--dry-run] FOLDER"; fi
folder=$1

require() {
    local tool
    for tool in qemu-aarch64-static apt-get dpkg-deb; do
        command -v "$tool" >/dev/null || fail 3 "$tool is missing. Install it: apt-get install qemu-user-static"
    done
    [ -f "$keyring" ] || fail 3 "$keyring is missing. Install it: apt-get install debian-archive-keyring"
    "$PYTHON" -c 'import lifeiqa.export' 2>/dev/null ||
        fail 3 "$PYTHON has no lifeiqa[export]. Install it, or name another: PYTHON=... benchmarks/arm64.sh $folder"
}

# A wheel of this tree, built from a copy, so that no build folder is left in it.
build_wheel() {
    rm -rf "$folder/source" "$folder/wheel"
    mkdir -p "$folder/source"
    (cd "$repository" && tar c --exclude __pycache__ pyproject.toml LICENSE package runtime calibration models export) |
        tar x -C "$folder/source"
    "$PYTHON" -m pip wheel -q --no-deps -w "$folder/wheel" "$folder/source"
}

# pip's options for ARM: of the same kinds of wheels that pip takes on a Debian or Raspberry Pi OS of 2023 and later.
for_arm() {
    local glibc
    printf '%s ' --only-binary=:all: --implementation cp --python-version "$1" --platform manylinux2014_aarch64
    for glibc in 17 24 26 27 28 31 34 35 36; do printf '%s ' --platform "manylinux_2_${glibc}_aarch64"; done
}

resolve_wheels() {
    local version
    for version in $PYTHONS; do
        # shellcheck disable=SC2046
        "$PYTHON" -m pip download -q -d "$folder/wheels-$version" $(for_arm "$version") \
            "$(echo "$folder"/wheel/lifeiqa-*.whl)[cpu]"
        printf 'Python %s: %s wheels, %s\n' "$version" "$(find "$folder/wheels-$version" -name '*.whl' | wc -l)" \
            "$(du -sh "$folder/wheels-$version" | cut -f1)"
    done
}

install_wheels() {
    rm -rf "$folder/site"
    # shellcheck disable=SC2046
    "$PYTHON" -m pip install -q --no-compile --target "$folder/site" --no-index \
        --find-links "$folder/wheels-$ROOT_PYTHON" $(for_arm "$ROOT_PYTHON") \
        "$(echo "$folder"/wheel/lifeiqa-*.whl)[cpu]"
}

# Debian's Python for ARM and all that it needs, unpacked. apt works on folders of its own.
make_root() {
    local apt=$folder/apt package
    mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d} "$folder/root"
    : >"$apt/state/status"
    echo "deb [arch=arm64 signed-by=$keyring] http://deb.debian.org/debian $SUITE main" >"$apt/etc/sources.list"
    cat >"$apt/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
Dir::Etc "$apt/etc";
END
    APT_CONFIG=$apt/apt.conf apt-get -qq update
    APT_CONFIG=$apt/apt.conf apt-get -qq install -y --download-only python3-minimal libpython3-stdlib libstdc++6
    for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder/root"; done
}

# Runs the ARM Python on an emulated CPU: emulated CPU ARGUMENTS...
emulated() {
    local cpu=$1
    shift
    PYTHONPATH=$folder/site nice -n 19 qemu-aarch64-static -cpu "$cpu" -L "$folder/root" \
        "$folder/root/usr/bin/python$ROOT_PYTHON" "$@"
}

# The emulator shows the /proc/cpuinfo of this machine, with which ONNX Runtime crashes. A file in the root goes before
# it; its features are what the emulated CPU itself says that it has.
write_cpuinfo() {
    mkdir -p "$folder/root/proc"
    rm -f "$folder/root/proc/cpuinfo"
    emulated "$1" - >"$folder/cpuinfo" <<'END'
import ctypes

getauxval = ctypes.CDLL(None).getauxval
getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
words = {  # AT_HWCAP and AT_HWCAP2, and some of their bits
    16: "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 "
    "sm4 asimddp sha512 sve asimdfhm",
    26: "dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm svebf16 i8mm bf16 "
    "dgh rng bti mte ecv afp rpres mte3 sme",
}
flags = [name for word, names in words.items() for bit, name in enumerate(names.split()) if getauxval(word) >> bit & 1]
for core in range(2):
    print(f"processor\t: {core}\nFeatures\t: {' '.join(flags)}\nCPU implementer\t: 0x41\nCPU architecture: 8")
    print("CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n")
END
    mv "$folder/cpuinfo" "$folder/root/proc/cpuinfo"
}

write_pictures() {
    rm -rf "$folder/pictures"
    "$PYTHON" "$repository/benchmarks/demo_pictures.py" "$folder/pictures"
    rm "$folder"/pictures/*_blur.png "$folder"/pictures/*_noise.png # the others show as much, in half the time
}

# Scores of the pictures as JSON, by file name: score_pictures FILE PYTHON...
score_pictures() {
    local file=$1
    shift
    "$@" - "$folder/pictures" >"$file.part" <<'END'
import json
import sys
from pathlib import Path

from lifeiqa.runtime import Scorer

with Scorer(device="cpu") as scorer:
    print(json.dumps({path.name: scorer.score_file(path).raw for path in sorted(Path(sys.argv[1]).iterdir())}))
END
    mv "$file.part" "$file"
}

score_here() {
    mkdir -p "$folder/results"
    rm -f "$folder"/results/*.json
    score_pictures "$folder/results/here.scores.json" "$PYTHON"
}

score_emulated() {
    local result=$folder/results/$1 ended=0
    write_cpuinfo "$1"
    score_pictures "$result.scores.json" emulated "$1"
    emulated "$1" -c 'from lifeiqa.runtime.conformance.cli import main; main()' --json >"$result.proof.json" || ended=$?
    [ "$ended" -eq 0 ] || [ "$ended" -eq 4 ] || fail "$ended" "lifeiqa-conformance ended with $ended on $1"
}

show() {
    "$PYTHON" "$repository/benchmarks/arm64_table.py" "$folder/results" "$folder/pictures"
}

step() {
    printf '== %s\n' "$*"
    [ -n "$dry_run" ] || "$@"
}

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -z "$dry_run" ]; then
    require
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
fi
step build_wheel
step resolve_wheels
step install_wheels
step make_root
step write_pictures
step score_here
for cpu in $CPUS; do step score_emulated "$cpu"; done
step show
