#!/usr/bin/env bash
# Tries eellm on arm64, on a machine of x86-64 too: a text is the one that x86-64 writes by machine code with AVX2, in
# bfloat16 and in 8 bits, and the doctor says what it found, without libtorch's natives for arm64. For what is right,
# not for speed: emulated, a start takes 15 s.
#
#   deploy/test/arm64.sh JAVA MODEL
#
# JAVA is java of an arm64 JDK 25, emulated or not: QEMU's user mode (Debian: qemu-user) runs one as
# `qemu-aarch64 -L ROOT ROOT/usr/lib/jvm/java-25-openjdk-arm64/bin/java`, with the libraries of arm64 in ROOT. MODEL is
# the folder of a small model. After a build by ./eellm; CLASSPATH names other classes.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
arm=$1
model=$2
classes=${CLASSPATH:-$root/target/eellm.jar:$(cat "$root/target/classpath.txt")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { # JAVA LEVEL ARGUMENTS...
  "$1" --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED -XX:+UseSerialGC "-Deellm.cpu=$2" \
    -cp "$classes" org.eellm.cli.Main "${@:3}" 2>>"$work/log" || {
    tail -n 20 "$work/log" >&2
    exit 1
  }
}

for quantize in none int8; do
  text=(generate --model "$model" --prompt 'Once upon a time' --max-tokens 24 --mode full --quantize "$quantize")
  run "${JAVA:-java}" avx2 "${text[@]}" >"$work/x86"
  for level in vectors scalar; do
    run "$arm" $level "${text[@]}" >"$work/arm64"
    cmp "$work/x86" "$work/arm64" || {
      echo "arm64, $level, $quantize: another text" >&2
      diff "$work/x86" "$work/arm64" >&2
      exit 1
    }
    echo "arm64, $level, $quantize: the text of x86-64"
  done
done
run "$arm" vectors doctor --seconds 0.02 | tee "$work/doctor"
grep -q 'libtorch *on the class path, but not for linux-arm64' "$work/doctor"
grep -q 'processor level: vectors, ' "$work/doctor"
