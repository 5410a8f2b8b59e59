#!/usr/bin/env bash
# Checks and times medmerge on an NVIDIA GPU that is lent for minutes, without a network or a Rust toolchain.
#
#   bash tests/device.sh --pack                    # where the sources are: builds the programs into .device/
#   bash tests/device.sh [STAGE ...]               # on the machine with the GPU; writes results/device/
#   bash tests/device.sh --rehearse [STAGE ...]    # every stage on the CPU with tiny sizes; writes a temporary folder
#
#   --budget SECONDS   for all stages together (540; 110 for a rehearsal)
#   --out FOLDER       instead of results/device
#   --torch FILE       PyTorch's side: a program that takes what torch_gpu.py does (.device/torch_gpu.py, then
#                      ../shared/bench/torch_gpu.py); --pack copies it
#   PYTHON             a Python with torch, torchvision and timm (python3)
#
# Stages, in order of worth: facts doctor tests quickstart graphs steps profile. Each has a time limit, and the table is
# written after each measurement, so what was done counts if the rest is cut off. What cannot run has a row that says
# `not tested: why`. `steps` takes one more round of all cases as long as there is time; a row is the median of its
# rounds, in each of which the two programs ran one after the other.
#
# How the programs get there. candle asks cudarc to link to CUDA's libraries, so nothing is loaded by name at run time,
# but the linker needs only names: --pack links with stubs (cuda_toolkit.sh), with nvcc and headers from PyPI, on a
# machine without a GPU. The programs then load NVIDIA's libraries where they run: the driver's libcuda.so.1, and
# CUDA 13's and cuDNN 9's from a toolkit or from PyTorch's packages, whose folders are asked of Python. They need the
# glibc of the machine that built them, or a later one. Kernels are PTX for compute capability 8.0, which the driver
# compiles for later cards. Building there instead would take: crates for Linux, 24 MiB compressed (all platforms:
# 82 MiB, 720 MiB unpacked), and a toolchain of 1.4 GiB. Where cargo and nvcc are there, and no pack, it is built there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/cuda_toolkit.sh
. tests/cuda_toolkit.sh

pack=.device
cache=${XDG_CACHE_HOME:-$HOME/.cache}/medmerge-cuda
python=${PYTHON:-python3}
budget="" out="" torch="" mode=measure stages=()
while [ $# -gt 0 ]; do
    case $1 in
        --pack | --rehearse) mode=${1#--} ;;
        --budget | --out | --torch)
            [ $# -gt 1 ] || { echo "error: $1 needs a value" >&2; exit 2; }
            declare "${1#--}=$2"
            shift
            ;;
        facts | doctor | graphs | tests | quickstart | steps | profile) stages+=("$1") ;;
        *) echo "error: \`$1\` is neither an option nor a stage; see the first lines of $0" >&2; exit 2 ;;
    esac
    shift
done
[ ${#stages[@]} -gt 0 ] || stages=(facts doctor tests quickstart graphs steps profile)
for file in "$pack/torch_gpu.py" ../shared/bench/torch_gpu.py; do
    [ -n "$torch" ] || [ ! -f "$file" ] || torch=$file
done

# built CARGO-ARGUMENTS...: builds the three programs and prints where they are, as `name path`
built() {
    "${CARGO:-cargo}" build --release --locked "$@" --bin medmerge --bench throughput --test it --message-format=json |
        grep '"executable":"' | sed -E 's/.*"name":"(medmerge|throughput|it)".*"executable":"([^"]*)".*/\1 \2/'
}

make_pack() {
    cuda_toolkit "$cache"
    cuda_stubs "$cache/stubs"
    export LIBRARY_PATH="$cache/stubs" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
    local name path
    rm -rf "$pack/bin" "$pack/programs.tar.xz"
    mkdir -p "$pack/bin"
    built --features cuda >"$pack/built"
    while read -r name path; do strip -o "$pack/bin/$name" "$path"; done <"$pack/built"
    [ -x "$pack/bin/throughput" ] && [ -x "$pack/bin/it" ] && [ -x "$pack/bin/medmerge" ]
    git describe --always --dirty >"$pack/bin/commit"
    # the programs have the same kernels: a window that spans them all keeps one copy (18 MiB instead of 56)
    tar -C "$pack" -c bin | xz -T2 --lzma2=preset=2,dict=192MiB >"$pack/programs.tar.xz"
    rm -rf "$pack/bin" "$pack/built"
    if [ -n "$torch" ] && [ "$torch" != "$pack/torch_gpu.py" ]; then cp "$torch" "$pack/"; fi
    du -ch "$pack"/*
}

if [ "$mode" = pack ]; then make_pack; exit; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "$mode" = rehearse ]; then
    device=cpu dtypes=(f32 bf16) run_length=1 reserve=5 budget=${budget:-110}
    cases=(resnet18:small:16:28:4 resnet18:standard:16:64:2)
    out=${out:-$(mktemp -d)}
else
    nvidia-smi -L >/dev/null 2>&1 || { echo "error: nvidia-smi finds no GPU here; try --rehearse" >&2; exit 2; }
    device=cuda dtypes=(bf16 f32 tf32) run_length=10 reserve=80 budget=${budget:-540}
    # the first is the one that was measured before, see src/guide/performance.md
    cases=(resnet18:small:16:28:64 resnet18:standard:64:224:64 resnet50:standard:64:224:64
        densenet121:standard:-:224:64 vit_tiny_patch16_224:-:-:224:64 resnet18:small:64:28:512)
    out=${out:-results/device}
fi
mkdir -p "$out"
deadline=$((SECONDS + budget)) limit=0 failures=0 programs="" no_programs=""
: >"$work/checks.csv" >"$work/facts" >"$work/steps.csv"

# ---- what is written

# row WHAT NOTE: of a check, in place of an earlier one
row() {
    local note=${2//\"/\'}
    note=${note//$'\n'/ }
    { grep -v "^$1," "$work/checks.csv" || true; } >"$work/checks.new"
    printf '%s,,,,,,,,,,"%s"\n' "$1" "$note" >>"$work/checks.new"
    mv "$work/checks.new" "$work/checks.csv"
    echo "   $1: $2"
    write_table
}

failed() {
    failures=$((failures + 1))
    row "$1" "FAILED: $2"
}

# Medians of steps.csv: round,program,case,dtype,train,evaluate,MiB,note
summary() {
    awk -F, -v OFS=, -v cases="${cases[*]}" -v dtypes="${dtypes[*]}" -v reason="${no_programs:-the stage \`steps\` did not come to it}" '
        function median(list, n, v, i, j, t) {
            n = split(list, v, " ")
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j] + 0 < v[j - 1] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
            return n ? (n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2) : ""
        }
        { k = $3 "," $4; seen[k] = 1 }
        $5 != "" { r = k "," $2
            train[r] = train[r] " " $5; evaluate[r] = evaluate[r] " " $6
            if ($7 > mib[r]) mib[r] = $7
            t[r, $1] = $5; e[r, $1] = $6; if ($1 > rounds) rounds = $1 }
        $5 == "" { why[k "," $2] = $8 }
        function line(what, k, list, by,    a, b, i, ratios, n, note, p) {
            a = k ",medmerge"; b = k ",pytorch"
            for (i = 1; i <= rounds; i++)
                if (by[a, i] > 0 && by[b, i] > 0) { ratios = ratios " " by[a, i] / by[b, i]; n++ }
            if (n) note = "median of " n (n > 1 ? " rounds" : " round")
            if (list[a] == "" && list[b] == "" && why[a] == why[b]) note = why[a]
            else if (list[a] == "") note = "medmerge " why[a]
            else if (list[b] == "") note = "PyTorch " why[b]
            split(k, p, /[:,]/)
            printf "%s,%s %s width %s,%s,%s,%s,%s,%s,%s,%s,%s,\"%s\"\n", what, p[1], p[2], p[3], p[4], p[5], p[6],
                median(list[a]), median(list[b]), n ? sprintf("%.2f", median(ratios)) : "", mib[a], mib[b], note
        }
        END {
            n = split(cases, c, " "); m = split(dtypes, d, " ")
            for (i = 1; i <= n; i++) for (j = 1; j <= m; j++) {
                k = c[i] "," d[j]
                if (!(k in seen)) why[k ",medmerge"] = why[k ",pytorch"] = "not tested: " reason
                line("training", k, train, t); line("evaluation", k, evaluate, e)
            }
        }' "$work/steps.csv"
}

# The table so far, as CSV and Markdown
write_table() {
    local head="what,network,size,batch,dtype,medmerge images/s,PyTorch images/s,ratio,medmerge MiB,PyTorch MiB,note"
    { echo "$head"; cat "$work/checks.csv"; summary; } >"$work/table.csv"
    [ "$mode" = measure ] || sed -i -e '2,$s/^/rehearsal: /' "$work/table.csv"
    cp "$work/table.csv" "$out/device.csv"
    {
        if [ "$mode" = measure ]; then echo "# medmerge on a GPU"; else echo "# A rehearsal on a CPU: no result"; fi
        printf '\n'
        sed 's/^/- /' "$work/facts"
        printf '\nMiB: the most that the card held during the program, less what it held before.\n\n'
        awk '{
            inside = 0; text = "| "
            for (i = 1; i <= length($0); i++) {
                c = substr($0, i, 1)
                if (c == "\"") inside = !inside
                else if (c == "," && !inside) text = text " | "
                else if (c == "|") text = text "\\|"
                else text = text c
            }
            print text " |"
            if (NR == 1) print "|---|---|---|---|---|---|---|---|---|---|---|"
        }' "$work/table.csv"
    } >"$out/device.md"
}

# ---- time and programs

left() {
    local until=$((limit < deadline ? limit : deadline))
    echo $((until - SECONDS))
}

# within COMMAND...: at most as long as the stage and the budget allow
within() {
    local seconds
    seconds=$(left)
    [ "$seconds" -gt 0 ] || return 124
    timeout -k 5 "$seconds" "$@"
}

# reason STATUS FILE: why a command failed, from its last line
reason() {
    if [ "$1" = 124 ] || [ "$1" = 137 ]; then echo "out of time"; else
        echo "exit code $1: $(grep -v '^note: run with' "$2" | grep -v '^ *$' | tail -n 1 | cut -c 1-300)"
    fi
}

# Folders of NVIDIA's libraries for medmerge alone, since others could disturb PyTorch: PyTorch's packages first, so that
# both programs use the same, then toolkit and driver; in a rehearsal, the stubs
libraries() {
    if [ "$mode" = rehearse ]; then echo "$cache/stubs"; return; fi
    local found
    found=$("$python" -c 'import glob, sys
print(":".join(f for p in sys.path if p for f in sorted(glob.glob(p + "/nvidia/*/lib"))))' 2>/dev/null || true)
    echo "${found:+$found:}${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/lib64:/usr/local/nvidia/lib64"
}

# Sets $programs to the folder of medmerge, throughput and it; or $no_programs to the reason why there is none
find_programs() {
    local name path features=()
    programs=$work/bin
    if [ -f "$pack/programs.tar.xz" ]; then
        tar -C "$work" -xJf "$pack/programs.tar.xz" 2>/dev/null || "$python" -m tarfile -e "$pack/programs.tar.xz" "$work"
        echo "programs: packed, commit $(cat "$programs/commit")" >>"$work/facts"
    elif command -v cargo >/dev/null; then
        if [ "$mode" = measure ]; then
            command -v nvcc >/dev/null || { no_programs="no pack, and no nvcc to build with"; return; }
            features=(--features cuda)
        fi
        mkdir -p "$programs"
        built --offline "${features[@]}" >"$work/built" 2>"$work/build" ||
            { no_programs="the build failed: $(tail -n 1 "$work/build")"; return; }
        while read -r name path; do ln -s "$path" "$programs/$name"; done <"$work/built"
        echo "programs: built here, commit $(git describe --always --dirty 2>/dev/null || echo unknown)" >>"$work/facts"
    else
        no_programs="neither $pack/programs.tar.xz nor cargo is here; run tests/device.sh --pack where the sources are"
        return
    fi
    "${ours[@]}" "$programs/medmerge" --version >"$work/version" 2>&1 ||
        no_programs="the program does not start: $(tail -n 1 "$work/version")"
}

# ---- the stages

facts() {
    local name
    {
        echo "date: $(date -u +%F)"
        echo "machine: $(uname -sm), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs)"
        echo "GPU: $(within nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1 | tail -n 1)"
        for name in nvcc cargo ncu; do
            echo "$name: $({ command -v "$name" >/dev/null && "$name" --version 2>&1 | tail -n 1; } || echo none)"
        done
        echo "libraries: $("${ours[@]}" ldd "$programs/medmerge" 2>&1 | grep -oE '/[^ ]*/lib(cublas|cudnn|cuda|nvrtc)\.so[^ ]*' | paste -sd ' ')"
        echo "PyTorch: $(within "$python" -c 'import torch
print(torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())' 2>&1 | tail -n 1)"
    } >>"$work/facts"
    if [ -n "$no_programs" ]; then row facts "not tested: $no_programs"; return; fi
    row facts "$(cat "$work/version") starts"
}

# Reduced precision is known not to meet the tolerance (src/guide/performance.md): only f32 can fail by it
beyond_tolerance() {
    if [ "$1" = f32 ]; then failed "doctor $1" "$2"; else row "doctor $1" "beyond the tolerance, a known limit: $2"; fi
}

doctor() {
    local dtype status start
    for dtype in "${dtypes[@]}"; do
        if [ "$device" = cpu ] && [ "$dtype" != f32 ]; then
            row "doctor $dtype" "not tested: a CPU computes in f32"
            continue
        fi
        start=$SECONDS status=0
        within "${ours[@]}" "$programs/medmerge" doctor --device "$device" --precision "$dtype" \
            >"$work/doctor" 2>&1 || status=$?
        cp "$work/doctor" "$out/doctor-$dtype.txt"
        case $status in
            0) row "doctor $dtype" "passed in $((SECONDS - start)) s; $(grep ^throughput: "$work/doctor")" ;;
            124 | 137) row "doctor $dtype" "not tested: out of time" ;;
            1) beyond_tolerance "$dtype" "$(grep -E '^relative errors|^  .*: logits' "$work/doctor" | paste -sd ';')" ;;
            *) failed "doctor $dtype" "$(reason "$status" "$work/doctor")" ;;
        esac
    done
}

# same_bits DTYPE: whether replayed steps give the bits of others: parameters, moments and logits of every family
same_bits() {
    local status=0 same
    within "${ours[@]}" "$programs/medmerge" doctor --device cuda --precision "$1" --graphs >"$work/graphs" 2>&1 || status=$?
    cp "$work/graphs" "$out/graphs-$1.txt"
    same=$(grep -c ': same bits$' "$work/graphs" || true)
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        row "graphs $1" "not tested: out of time"
    elif [ "$same" -gt 0 ] && ! grep -q 'DIFFERENT BITS' "$work/graphs"; then
        row "graphs $1" "passed: $same networks, bit for bit"
    else
        failed "graphs $1" "$(grep 'DIFFERENT BITS' "$work/graphs" || reason "$status" "$work/graphs")"
    fi
}

# in_turn CASE: images per second in bf16, without graphs and with them
in_turn() {
    local option rates=""
    for option in "" --graphs; do
        # shellcheck disable=SC2086 # no option is no argument
        within "${ours[@]}" "$programs/throughput" --device cuda --precision bf16 --steps "$run_length" $option "$1" \
            >"$work/line" 2>"$work/line.err" ||
            { row "graphs $1 bf16" "not tested: $(reason $? "$work/line.err")"; return; }
        rates+="; ${option:-without}: $(number train_images_per_s) and $(number eval_images_per_s)"
    done
    row "graphs $1 bf16" "images/s in training and evaluation$rates"
}

graphs() {
    local dtype case
    if [ "$mode" = rehearse ]; then
        row graphs "not tested: no GPU; stage/graph_tests.rs replays recorded steps on the CPU"
        return
    fi
    for dtype in "${dtypes[@]}"; do same_bits "$dtype"; done
    for case in "${cases[@]:0:3}"; do in_turn "$case"; done
}

# The whole quickstart among them is the next stage, with numbers
tests() {
    local status=0 filter=(device:: --skip quickstart) demand=gpu
    if [ "$mode" = rehearse ]; then filter=(device::training_steps_on_this_processor) demand=""; fi
    MEDMERGE_MUST_TEST=$demand within "${ours[@]}" "$programs/it" "${filter[@]}" >"$work/tests" 2>&1 || status=$?
    cp "$work/tests" "$out/tests.txt"
    case $status in
        0) row tests "$(grep '^test result' "$work/tests" | cut -d';' -f 1)" ;;
        124 | 137) row tests "not tested: out of time" ;;
        *) failed tests "$(grep -m1 -E 'panicked|FAILED' "$work/tests" || reason "$status" "$work/tests")" ;;
    esac
}

# scored DEVICE FOLDER: runs the quickstart and prints seconds
scored() {
    local start=$SECONDS tiny=()
    if [ "$mode" = rehearse ]; then
        tiny=(--set 'sweep.seed=[0]' --set 'sweep.target=["fundus"]' --set train.epochs=1)
        for data in cells xray fundus; do
            tiny+=(--set "dataset.$data.phantom.train=64" --set "dataset.$data.phantom.val=32")
            tiny+=(--set "dataset.$data.phantom.test=32")
        done
        for source in source_a source_b; do tiny+=(--set "stage.$source.pretrain.epochs=1"); done
    fi
    within "${ours[@]}" "$programs/medmerge" run experiments/quickstart.toml --device "$1" \
        --store "$2/store" --results "$2/results" "${tiny[@]}" >"$work/quickstart" 2>&1 || { local status=$?; reason $status "$work/quickstart"; return 1; }
    echo $((SECONDS - start))
}

# Scores on the GPU have to be those of the CPU up to chance: the mean difference below 0.05, as in it/device.rs
quickstart() {
    local here there
    there=$(scored "$device" "$work/there") || { failed quickstart "on $device: $there"; return; }
    here=$(scored cpu "$work/here") ||
        { row quickstart "ran on $device in $there s; on the CPU not tested: $here"; return; }
    cp "$work/there/results/quickstart/main.csv" "$out/quickstart-$device.csv"
    cp "$work/here/results/quickstart/main.csv" "$out/quickstart-cpu.csv"
    local compared
    compared=$(awk -F, '
        FNR == 1 { file++; for (i = 1; i <= NF; i++) is_mean[i] = $i ~ /\.mean$/; next }
        file == 1 { for (i = 1; i <= NF; i++) if (is_mean[i]) a[$1, i] = $i; next }
        { for (i = 1; i <= NF; i++) if (is_mean[i]) {
            d = $i - a[$1, i]; n++; sum += d
            if (d < 0) d = -d
            if (d > most) most = d } }
        END {
            mean = n ? sum / n : 1
            printf "%d scores, mean difference %.4f, largest %.4f", n, mean, most
            exit !(n && mean < 0.05 && mean > -0.05)
        }
        ' "$out/quickstart-$device.csv" "$out/quickstart-cpu.csv") ||
        { failed quickstart "$compared"; return; }
    row quickstart "passed: $compared; $there s on $device, $here s on the CPU"
}

# watched COMMAND...: runs it, and leaves in $work/mib the most MiB that the card held, less what it held before
watched() {
    local status=0 watch=""
    echo >"$work/mib"
    if [ "$device" = cuda ] && command -v nvidia-smi >/dev/null; then
        nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits >"$work/held" 2>/dev/null || true
        nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -lms 100 >>"$work/held" 2>/dev/null &
        watch=$!
    fi
    within "$@" >"$work/line" 2>"$work/line.err" || status=$?
    if [ -n "$watch" ]; then
        kill "$watch" 2>/dev/null || true
        wait "$watch" 2>/dev/null || true
        awk 'NR == 1 { base = $1 } $1 > most { most = $1 } END { if (NR > 1) print most - base }' \
            "$work/held" >"$work/mib"
    fi
    return $status
}

number() { sed -nE "s/.*\"$1\": ?([0-9.]+).*/\1/p" "$work/line" | tail -n 1; }

# timed ROUND PROGRAM CASE DTYPE COMMAND...: a line of steps.csv
timed() {
    local of="$1,$2,$3,$4" status=0 why
    shift 4
    watched "$@" || status=$?
    if [ $status = 0 ] && [ -n "$(number train_images_per_s)" ]; then
        echo "$of,$(number train_images_per_s),$(number eval_images_per_s),$(cat "$work/mib")," >>"$work/steps.csv"
    else
        why=$(reason $status "$work/line.err")
        echo "$of,,,,not tested: ${why//[,\"]/ }" >>"$work/steps.csv"
    fi
    echo "   $(tail -n 1 "$work/steps.csv")"
}

# case_in_turn ROUND CASE DTYPE NO_TORCH: both programs on one case
case_in_turn() {
    local cpu="not tested: a CPU computes in f32" options=(--device "$device" --precision "$3" --steps "$run_length" "$2")
    if [ "$device" = cpu ] && [ "$3" != f32 ]; then
        printf "%s\n" "$1,medmerge,$2,$3,,,,$cpu" "$1,pytorch,$2,$3,,,,$cpu" >>"$work/steps.csv"
        return
    fi
    timed "$1" medmerge "$2" "$3" "${ours[@]}" "$programs/throughput" "${options[@]}"
    if [ -n "$4" ]; then
        echo "$1,pytorch,$2,$3,,,,not tested: $4" >>"$work/steps.csv"
    else
        timed "$1" pytorch "$2" "$3" "$python" "$torch" "${options[@]}"
    fi
}

steps() {
    local round dtype case no_torch=""
    if [ -z "$torch" ]; then
        no_torch="no torch_gpu.py here"
    elif ! within "$python" -c 'import torch, torchvision' 2>/dev/null; then
        no_torch="no PyTorch in $python"
    fi
    for round in 1 2 3 4 5; do
        for dtype in "${dtypes[@]}"; do
            for case in "${cases[@]}"; do
                if [ "$(left)" -lt 10 ]; then return; fi
                case_in_turn "$round" "$case" "$dtype" "$no_torch"
                write_table
                cp "$work/steps.csv" "$out/rounds.csv"
            done
        done
        [ "$mode" = measure ] || return 0
    done
}

# by_kernel FILE: launches, microseconds and share of each kernel, from Nsight Compute's CSV; times are in ns
by_kernel() {
    echo "kernel,launches,us,share"
    awk -F'","' '
        $0 !~ /^"/ { next }
        !head { for (i = 1; i <= NF; i++) { name = $i; gsub(/"/, "", name); column[name] = i }; head = 1; next }
        { value = $column["Metric Value"]; unit = $column["Metric Unit"]; gsub(/[",]/, "", value)
          scale = unit ~ /^(us|usecond)$/ ? 1 : unit ~ /^(ms|msecond)$/ ? 1000 : unit ~ /^(s|second)$/ ? 1000000 : 0.001
          kernel = $column["Kernel Name"]; sub(/\(.*/, "", kernel); gsub(/[",]/, " ", kernel)
          count[kernel]++; time[kernel] += value * scale; total += value * scale }
        END { for (k in count) printf "%s,%d,%.1f,%.3f\n", k, count[k], time[k], time[k] / total }' "$1" |
        sort -t, -k 3 -nr
}

# Launches of a ResNet-18 at 28 px and of a ResNet-50 at 224 px: kernel time, without what lies between launches
profile() {
    local case name status
    if [ "$mode" = rehearse ]; then
        printf '%s\n' '==PROF== Connected' '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"' \
            '"0","badd_f32(int)","gpu__time_duration.sum","ns","1,500"' \
            '"1","badd_f32(int)","gpu__time_duration.sum","us","2.5"' \
            '"2","gemm<float, 2>(int)","gpu__time_duration.sum","ns","12,000"' >"$work/ncu.csv"
        [ "$(by_kernel "$work/ncu.csv" | paste -sd ' ')" = \
            "kernel,launches,us,share gemm<float  2>,1,12.0,0.750 badd_f32,2,4.0,0.250" ] ||
            { failed profile "the reader of profiles: $(by_kernel "$work/ncu.csv")"; return; }
        row profile "not tested: no GPU; three made-up lines were read"
        return
    fi
    command -v ncu >/dev/null || { row profile "not tested: no ncu here"; return; }
    for case in resnet18:small:16:28:64 resnet50:standard:64:224:64; do
        name=${case%%:*} status=0
        within ncu --csv --clock-control none --metrics gpu__time_duration.sum --launch-count 6000 --kill yes \
            --target-processes all "${ours[@]}" "$programs/throughput" --device cuda --steps 1 "$case" >"$work/ncu.csv" 2>"$work/ncu.err" || status=$?
        by_kernel "$work/ncu.csv" >"$out/profile-$name.csv"
        if [ "$(wc -l <"$out/profile-$name.csv")" -lt 2 ]; then
            cat "$work/ncu.csv" >>"$work/ncu.err"
            row "profile $name" "not tested: $(reason "$status" "$work/ncu.err")"
        else
            row "profile $name" "$(awk -F, 'NR > 1 { n += $2; us += $3 }
                NR > 1 && NR < 5 { most = most "; " $1 " " $4 }
                END { printf "%d launches, %.1f ms in kernels%s", n, us / 1000, most }' "$out/profile-$name.csv")"
        fi
    done
}

# stage NAME SECONDS
stage() {
    local start=$SECONDS
    limit=$((SECONDS + $2))
    echo "== $1, at most $(left) s"
    if [ "$(left)" -lt 5 ]; then row "$1" "not tested: no time left"; return; fi
    if [ "$1" != facts ] && [ -n "$no_programs" ]; then row "$1" "not tested: $no_programs"; return; fi
    "$1"
    echo "== $1: $((SECONDS - start)) s"
}

ours=(env "LD_LIBRARY_PATH=$(libraries)")
find_programs
# building is no part of a rehearsal
if [ "$mode" = rehearse ]; then deadline=$((SECONDS + budget)); fi
if [[ " ${stages[*]} " != *" profile "* ]]; then reserve=0; fi
declare -A seconds=([facts]=30 [doctor]=60 [graphs]=60 [tests]=60 [quickstart]=120 [profile]=80)
for name in facts doctor tests quickstart graphs steps profile; do
    # what is left, but for the profile
    seconds[steps]=$((deadline - SECONDS - reserve))
    if [[ " ${stages[*]} " == *" $name "* ]]; then
        stage "$name" "${seconds[$name]}"
    else
        row "$name" "not tested: not asked for"
    fi
done
write_table
cat "$out/device.md"
echo "written to $out; checks that failed: $failures"
[ "$failures" = 0 ] && [ -z "$no_programs" ]
