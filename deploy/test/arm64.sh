#!/usr/bin/env bash
# Tries eellm on arm64, on a machine of x86-64 too: a text is the one that x86-64 writes by machine code with AVX2, in
# every format, on processors with and without products of bytes and of bfloat16; so are texts of all families of models
# and kernels' tests, where TESTS is the class path of the project's tests and of JUnit's console; and the doctor says
# what it found, without libtorch's natives for arm64. For what is right, not for speed: emulated, a start takes 15 s.
#
#   [TESTS=CLASSPATH] deploy/test/arm64.sh JAVA MODEL
#
# JAVA is java of an arm64 JDK 25, emulated or not: QEMU's user mode (Debian: qemu-user) runs one as
# `qemu-aarch64 -L ROOT ROOT/usr/lib/jvm/java-25-openjdk-arm64/bin/java`, with the libraries of arm64 in ROOT; it is any
# processor that QEMU_CPU names. MODEL is the folder of a small model. After a build by ./eellm; CLASSPATH names other
# classes.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
arm=$1
model=$2
classes=${CLASSPATH:-$root/target/eellm.jar:$(cat "$root/target/classpath.txt")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { # JAVA LEVEL CLASS ARGUMENTS...
  "$1" --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED -XX:+UseSerialGC "-Deellm.cpu=$2" \
    -cp "${TESTS:+$TESTS:}$classes" "${@:3}" 2>>"$work/log" || {
    tail -n 20 "$work/log" >&2
    exit 1
  }
}

same() { # WHAT
  cmp "$work/x86" "$work/arm64" || {
    echo "arm64, $1: another text" >&2
    diff "$work/x86" "$work/arm64" >&2
    exit 1
  }
  echo "arm64, $1: the text of x86-64"
}

doctor() { # LEVEL WORDS...
  run "$arm" "$1" org.eellm.cli.Main doctor --seconds 0.02 >"$work/doctor"
  for words in "processor level: $1, " "${@:2}"; do
    grep "$words" "$work/doctor" || {
      echo "the doctor does not say '$words':" >&2
      cat "$work/doctor" >&2
      exit 1
    }
  done
}

others= # processors with products of bytes alone, and with none
[ "$(uname -m)" = aarch64 ] || others='neoverse-n1 cortex-a72'

for quantize in none int8 int4; do
  text=(org.eellm.cli.Main generate --model "$model" --prompt 'Once upon a time' --max-tokens 24 --mode full
    --quantize "$quantize")
  run "${JAVA:-java}" avx2 "${text[@]}" >"$work/x86"
  for level in neon vectors scalar; do
    run "$arm" $level "${text[@]}" >"$work/arm64"
    same "$level, $quantize"
  done
  for cpu in $others; do
    QEMU_CPU=$cpu run "$arm" neon "${text[@]}" >"$work/arm64"
    same "neon on $cpu, $quantize"
  done
done

doctor vectors 'libtorch *on the class path, but not for linux-arm64'
doctor neon 'machine code, NEON.*, bfloat16' 'machine code, NEON, float32' 'attention: machine code, NEON'
if [ -n "$others" ]; then
  QEMU_CPU=max doctor neon 'machine code, NEON with bfloat16, bfloat16' 'machine code, NEON, int8'
  QEMU_CPU=neoverse-n1 doctor neon 'machine code, NEON, bfloat16' 'machine code, NEON, int8'
  QEMU_CPU=cortex-a72 doctor neon 'machine code, NEON, bfloat16' 'Vector API, int8'
fi

if [ -z "${TESTS:-}" ]; then
  echo 'without TESTS: texts of all families, and tests of kernels, are left out'
  exit
fi
run "${JAVA:-java}" avx2 'org.eellm.decode.engine.CpuLevelsTest$Program' >"$work/x86"
run "$arm" neon 'org.eellm.decode.engine.CpuLevelsTest$Program' >"$work/arm64"
same 'neon, all families'
junit() { # TESTS...
  run "$arm" neon org.junit.platform.console.ConsoleLauncher execute --disable-banner --details=summary "$@"
}
junit --select-class org.eellm.kernel.machine.ExecutableMemoryTest --select-class org.eellm.kernel.vector.CpuLevelTest \
  --select-class org.eellm.kernel.matmul.MatmulKernelTest
# Of attention some layouts, by their numbers: all of them take very long when emulated.
attention=()
for cases in of_neonOnArm64Alone_isThere/0 attend_severalRows_givesEachAsAlone/10,17 \
  attend_severalRowsWithWindows_givesEachAsAlone/4,5,9 attend_cappedScores_agreesWithFloat64AndRowsAlone/5,7,15 \
  attend_laterPositionsOfNanOrInfinity_changeNoEarlierRow/2,4,5 attend_nanBeforeARowsWindow_changesOnlyRowsThatSeeIt/3,4,8 \
  attend_pagesBeforeTheWindow_areNotRead/9,10,11 attend_whatPagesHadBefore_doesNotMatter/4,5 \
  attend_queriesOfAnySize_isTheSameByAllKernels/12,13,14; do
  attention+=(--select-iteration
    "method:org.eellm.kernel.PagedAttentionTest#${cases%/*}(org.eellm.kernel.PageLayout)[${cases#*/}]")
done
junit "${attention[@]}"
