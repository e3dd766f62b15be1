#!/usr/bin/env bash
# Tests, parity and speed on an NVIDIA GPU, in under eight minutes, without a network.
#
#   benchmarks/gpu.sh wheels WHEELS [GROUP...]   with a network: collects wheels; without groups, all of them
#   benchmarks/gpu.sh [WHEELS [OUT]]             on the GPU machine; without them, "wheels" beside this script, and $OUT
#                                                or build/gpu
#   benchmarks/gpu.sh --dry-run [WHEELS [OUT]]   prints the steps
#   benchmarks/gpu.sh --cpu [WHEELS [OUT]]       a rehearsal on the CPU, of all that needs no GPU
#
# Variables: PYTHON (python3), PYTHON_VERSION (for wheels: that of the GPU machine, such as 3.12), CKPT, ROUNDS (30),
# BATCHES ("1 8 32"), IMAGES (a folder for parity), BUDGET (460 s for all steps together), PATIENCE (1: a factor on
# the time limit of each step, for slow machines), ONLY (a pattern for names of steps, such as
# 'environment|install|export|tensorrt').
#
# A step that fails, takes too long or lacks something is named, and the others run. OUT gets log.txt, summary.json and
# the figures. Exit codes: 0 all steps done or left out, 1 a step failed, 2 usage, 3 there is no GPU.
# shellcheck disable=SC2317 # some functions run in the shell of a step alone
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$here")
PYTHON=${PYTHON:-python3}
CKPT=${CKPT:-$repository/models/zoo/lifeiqa-lite0/lifeiqa-lite0.pt}
ROUNDS=${ROUNDS:-30}
BATCHES=${BATCHES:-1 8 32}
IMAGES=${IMAGES:-}
BUDGET=${BUDGET:-460}
PATIENCE=${PATIENCE:-1}
ONLY=${ONLY:-.}
GROUPS_OF_WHEELS="base torch onnxruntime engines tensorrt rtx"

usage() {
    echo "error: usage: benchmarks/gpu.sh wheels WHEELS [GROUP...] | [--dry-run] [--cpu] [WHEELS [OUT]]" >&2
    exit 2
}

# What a group installs. The base is what the wheel of lifeiqa itself asks for, and pytest.
packages_of() {
    case $1 in
    base)
        python_of "$here/gpu_report.py" requirements "$(lifeiqa_wheel)" export && echo pytest pytest-timeout hypothesis
        ;;
    torch) echo torch timm ;;
    onnxruntime) echo onnxruntime-gpu ;; # takes CUDA and cuDNN from PyTorch's packages: both have to be of one CUDA
    engines) echo cuda-python ;;
    tensorrt) echo tensorrt ;;
    rtx) echo tensorrt-rtx-cu13 ;;
    *) return 1 ;;
    esac
}

python_of() { if [ -x "$work/venv/bin/python" ]; then "$work/venv/bin/python" "$@"; else "$PYTHON" "$@"; fi; }

lifeiqa_wheel() { echo "$work"/wheel/lifeiqa-*.whl; }

# A wheel of this tree, built from a copy, so that no build folder is left in it.
build_wheel() {
    rm -rf "$work/source" "$work/wheel"
    mkdir -p "$work/source"
    (cd "$repository" && tar c --exclude __pycache__ pyproject.toml LICENSE package runtime calibration models export) |
        tar x -C "$work/source" || return
    python_of -m pip wheel -q --no-deps -w "$work/wheel" "$@" "$work/source"
}

collect_wheels() {
    local folder=$1 group groups glibc packages target=() failed=0
    read -ra groups <<<"${*:2}"
    for group in "${groups[@]}"; do
        case " $GROUPS_OF_WHEELS " in *" $group "*) ;; *) usage ;; esac
    done
    [ ${#groups[@]} -gt 0 ] || read -ra groups <<<"$GROUPS_OF_WHEELS"
    if [ -n "${PYTHON_VERSION:-}" ]; then
        target=(--implementation cp --python-version "$PYTHON_VERSION" --platform manylinux1_x86_64
            --platform manylinux2010_x86_64 --platform manylinux2014_x86_64)
        for glibc in 17 24 26 27 28 31 34 35; do target+=(--platform "manylinux_2_${glibc}_x86_64"); done
    fi
    build_wheel || return 1
    mkdir -p "$folder"
    for group in "${groups[@]}"; do
        read -ra packages <<<"$(packages_of "$group" | tr '\n' ' ')"
        [ "$group" != base ] || packages+=("setuptools>=77") # builds lifeiqa there
        if "$PYTHON" -m pip download -q --only-binary=:all: "${target[@]}" -d "$folder/$group" "${packages[@]}"; then
            printf '%-12s %6s  %s wheels\n' "$group" "$(du -sh "$folder/$group" | cut -f1)" \
                "$(find "$folder/$group" -name '*.whl' | wc -l)"
        else
            printf '%-12s left out: pip cannot have it\n' "$group"
            rmdir "$folder/$group" 2>/dev/null
            failed=1
        fi
    done
    return "$failed"
}

# A new environment that also sees the packages of the Python that made it: such as a PyTorch that is there already.
# (--system-site-packages would not do: where that Python is one of an environment, it shows another's packages.)
make_environment() {
    "$PYTHON" -m venv --clear --without-pip "$work/venv" || return
    "$PYTHON" -c 'import site, sysconfig; print(*{sysconfig.get_path("purelib"), *site.getsitepackages()}, sep="\n")' \
        >"$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/outer.pth"
    "$work/venv/bin/python" -m pip --version || "$work/venv/bin/python" -m ensurepip
}

offline() { "$work/venv/bin/python" -m pip "$1" -q --no-index "${links[@]}" "${@:2}"; }

install_base() {
    local package packages options=(--no-index "${links[@]}")
    compgen -G "$wheels/setuptools-*.whl" || compgen -G "$wheels/*/setuptools-*.whl" ||
        options+=(--no-build-isolation) # with the setuptools that is there
    build_wheel "${options[@]}" || return
    read -ra packages <<<"$(packages_of base | tr '\n' ' ')"
    offline install --no-deps --force-reinstall "$(lifeiqa_wheel)" || return
    if ! offline install "${packages[@]}"; then
        # One by one: what is missing may be there under another name, such as another wheel of OpenCV.
        for package in "${packages[@]}"; do
            offline install "$package" 2>/dev/null || echo "not installed: $package"
        done
    fi
    "$work/venv/bin/python" -c 'import cv2, onnx, onnxscript, simplejpeg, skimage, lifeiqa.export.cli'
}

install_group() {
    local packages
    read -ra packages <<<"$(packages_of "$1")"
    offline install "${packages[@]}"
}

# Large wheels may come in parts (split -b 50M X.whl X.whl.): X.whl.aa, X.whl.ab, ...
join_parts() {
    local first name
    for first in "$wheels"/*/*.whl.aa "$wheels"/*.whl.aa; do
        [ -f "$first" ] || continue
        name=${first%.aa}
        mkdir -p "$work/joined" && cat "$name".?? >"$work/joined/$(basename "$name")" || return
    done
}

gpu_tests() {
    local files
    mapfile -t files < <(grep -rl --include='*.py' 'mark\.gpu' tests)
    python -m pytest -m gpu -W default -p no:cacheprovider -rs "${files[@]}"
}

# Builds engines for a target of lifeiqa-export, in a folder of that name.
engines_of() {
    local file files=()
    mkdir -p "$work/$1" && cp "$models"/*.onnx "$work/$1" || return
    for file in "$work/$1"/*.onnx; do files+=(--onnx "$file"); done
    lifeiqa-export "${files[@]}" --target "$1" --force --batch 1,8,32
}

# Runs a benchmark with those models that could be made: of_models PATTERN COMMAND...
of_models() { local files; mapfile -t files < <(compgen -G "$1"); "${@:2}" "${files[@]}"; }

now() { date +%s; }

# What a step needs and is not here; nothing where all is.
lacking() {
    local need why
    for need in ${1//,/ }; do
        case $need in
        wheel:*)
            compgen -G "$wheels/${need#wheel:}-*.whl*" >/dev/null || compgen -G "$wheels/*/${need#wheel:}-*.whl*" \
                >/dev/null || { echo "no wheels of it" && return; }
            ;;
        file:*) [ -e "${need#file:}" ] || { echo "there is no $(basename "${need#file:}")" && return; } ;;
        *)
            why=$(awk -F '\t' -v name="$need" '$1 == name { print $2 }' "$work/lacks" 2>/dev/null)
            [ -z "$why" ] || {
                [ "$need" = gpu ] && echo "$why" || echo "$need: $why"
                return
            }
            ;;
        esac
    done
}

# step NAME SECONDS NEEDS COMMAND...: runs a command with its own timeout, and notes how it went.
step() {
    local name=$1 seconds=$(($2 * PATIENCE)) needs=$3 began ended left why="" result="done"
    shift 3
    [[ $name =~ $ONLY ]] || return
    if [ -n "$dry_run" ]; then
        printf '%-26s %4s s  needs: %-30s %s\n' "$name" "$seconds" "${needs:-nothing}" "$*"
        return
    fi
    began=$(now)
    left=$((BUDGET - (began - started)))
    [ "$seconds" -le "$left" ] || seconds=$left
    why=$(lacking "$needs")
    if [ -n "$why" ]; then
        result="left out"
    elif [ "$seconds" -lt 5 ]; then
        result="left out" why="no time left of $BUDGET s"
    else
        printf '\n== %s (%s s): %s\n' "$name" "$seconds" "$*"
        # In a shell of its own, so that functions run under the timeout too.
        # shellcheck disable=SC2016
        timeout -k 5 "$seconds" bash -c '. "$0"; "$@"' "$work/functions" "$@"
        ended=$?
        case $ended in
        0) ;;
        5) [ "$1" = gpu_tests ] && result="left out" why="no test has that mark" || result=failed ;;
        124 | 137) result=failed why="stopped after $seconds s" ;;
        *) result=failed ;;
        esac
        [ "$result" != failed ] || [ -n "$why" ] || why="exit code $ended, see log.txt"
    fi
    printf '%s\t%s\t%s\t%s\n' "$name" "$result" "$(($(now) - began))" "$why" >>"$work/steps"
    printf '%s: %s%s\n' "$name" "$result" "${why:+ ($why)}"
    "$PYTHON" "$here/gpu_report.py" summary "$work/steps" "$work/facts.json" "$out/summary.json" >"$work/table"
}

look_around() {
    [ -n "$dry_run" ] && return
    export PATH=$work/venv/bin:$PATH
    LD_LIBRARY_PATH=$("$work/venv/bin/python" "$here/gpu_report.py" libraries)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
    save_functions
    "$work/venv/bin/python" "$here/gpu_report.py" facts "$device" "$work/facts.json" "$work/lacks" &&
        cat "$work/facts.json"
}

# What the shell of a step has to know.
save_functions() {
    declare -f packages_of python_of lifeiqa_wheel build_wheel make_environment offline install_base install_group \
        join_parts gpu_tests engines_of of_models
    declare -p here repository PYTHON work wheels links models stem
} >"$work/functions"

benchmark() { echo "python $here/$1 --ckpt $CKPT --device $device"; }

run_steps() {
    local fp32=$models/$stem.onnx exported="$models/*.onnx" ort="" parity latency target build built ready kind batch
    local on_gpu=gpu,torch
    [ "$device" = cuda ] || on_gpu=torch
    read -ra parity <<<"$(benchmark parity.py) ${IMAGES:+--images $IMAGES}"
    read -ra latency <<<"$(benchmark latency.py) --rounds $ROUNDS --pictures 1 --only pytorch"
    for batch in $BATCHES; do latency+=(--batch "$batch"); done

    [ -n "$dry_run" ] || save_functions
    step "join wheels" 30 "" join_parts
    step "environment" 60 "" make_environment
    step "install lifeiqa" 90 "" install_base
    step "install torch" 150 wheel:torch install_group torch
    step "install onnxruntime" 60 wheel:onnxruntime_gpu install_group onnxruntime
    step "install engines" 40 wheel:cuda_bindings install_group engines
    step "install tensorrt" 90 wheel:'tensorrt_cu1?_libs' install_group tensorrt
    step "install rtx" 40 wheel:'tensorrt_rtx_cu1?' install_group rtx
    look_around
    step "gpu tests" 60 gpu,lifeiqa,pytest gpu_tests
    step "export" 120 lifeiqa lifeiqa-export --ckpt "$CKPT" --fp16 --target onnx -o "$models" --force
    ort=$on_gpu,lifeiqa,onnxruntime,file:$fp32
    step "parity onnxruntime" 90 "$ort" of_models "$exported" "${parity[@]}" --json "$out/parity-onnxruntime.json"
    step "latency onnxruntime" 100 "$ort" of_models "$exported" "${latency[@]}" --starts 1 --only onnxruntime \
        --only onnxruntime-bound --only onnxruntime-graph --json "$out/latency-onnxruntime.json"
    # Where FP32 is off by more than its limit with TF32 and not without, that is why.
    step "parity without TF32" 60 "gpu,$ort" env NVIDIA_TF32_OVERRIDE=0 "${parity[@]}" "$fp32" \
        --json "$out/parity-without-tf32.json"
    for kind in tensorrt rtx; do
        target=tensorrt build=gpu,lifeiqa
        [ $kind = tensorrt ] || target=tensorrt-rtx build=lifeiqa # whose engines are built on the CPU
        step "build $kind" 120 "$build,$kind,file:$fp32" engines_of $target
        built=$work/$target/$stem.engine
        ready=gpu,torch,$kind,cuda-python,file:$built
        step "parity $kind" 60 "$ready" of_models "$work/$target/*.engine" "${parity[@]}" \
            --json "$out/parity-$kind.json"
        step "latency $kind" 60 "$ready" of_models "$work/$target/*.engine" "${latency[@]}" --starts 1 --only tensorrt \
            --json "$out/latency-$kind.json"
    done
    # Last, because compiling takes longest.
    step "latency torch.compile" 150 "$on_gpu,lifeiqa,file:$fp32" "${latency[@]}" --starts 0 --only compile \
        --only compile-graph "$fp32" --json "$out/latency-compile.json"
}

main() {
    local began folder
    dry_run="" device=cuda
    while :; do
        case ${1:-} in
        --dry-run) dry_run=1 ;;
        --cpu) device=cpu ;;
        -*) usage ;;
        *) break ;;
        esac
        shift
    done
    [ $# -le 2 ] || [ "$1" = wheels ] || usage
    work=$(mktemp -d "${TMPDIR:-/tmp}/lifeiqa-gpu.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    if [ "${1:-}" = wheels ]; then
        [ $# -ge 2 ] || usage
        shift
        collect_wheels "$@"
        exit
    fi
    wheels=${1:-$here/wheels} out=${2:-${OUT:-$repository/build/gpu}}
    models=$work/models
    stem=$(basename "$CKPT" .pt)
    mkdir -p "$models"
    links=(--find-links "$work/joined")
    for folder in "$wheels" "$wheels"/*/; do [ ! -d "$folder" ] || links+=(--find-links "$folder"); done
    cd "$repository" || exit 2
    started=$(now)
    if [ -n "$dry_run" ]; then
        run_steps
        exit 0
    fi
    mkdir -p "$out" "$work/joined" || exit 2
    out=$(cd "$out" && pwd)
    began=$(now)
    : >"$work/steps"
    run_steps > >(tee "$out/log.txt") 2>&1
    wait $!
    printf '\n' && cat "$work/table" && printf '\n%s s in all; figures and log: %s\n' "$(($(now) - began))" "$out"
    if awk -F '\t' '$2 == "failed" { found = 1 } END { exit !found }' "$work/steps"; then exit 1; fi
    if [ "$device" = cuda ] && grep -q '^gpu' "$work/lacks"; then
        echo "error: there is no GPU: the steps that need one were left out" >&2
        exit 3
    fi
    exit 0
}

main "$@"
