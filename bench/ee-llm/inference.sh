#!/bin/sh
# docs/reports/ee-llm.md, "Inference": what the model of bench/ee-llm/convergence.sh with two exits gains and
# loses over thresholds, on methods of the library that it never saw; at which heads tokens leave on
# easy and on hard beginnings; and speeds on one rank and on two pipeline stages. It measures speeds: let
# nothing else run.
#
#   bench/ee-llm/inference.sh [FOLDER]
. "$(dirname "$0")/common.sh"
java_data
learn_java exits-seed1 train.seed=1

# sweep NAME OPTION...
sweep() {
  name=$1
  shift
  "$eellm" sweep --model "$work/exits-seed1" --output "$work/sweep-$name" "$@"
}
set -- "$root"/target/java-sources/commons-text-*-sources.jar
sweep code --code "$1" --modes early-exit,recompute,speculative --thresholds 1,0.9,0.8,0.6,0.4,0.2 \
  --draft-exits 4 --draft-lengths 4 --draft-margins 0.5 --limit 32 --max-tokens 48

cat > "$work/easy.txt" <<'END'
public String getName() { return
public int size() { return
public boolean isEmpty() { return
@Override public int hashCode() { return
public void setName(final String name) { this.
throw new IllegalArgumentException("
for (int i = 0; i <
if (value == null) { throw new
END
cat > "$work/hard.txt" <<'END'
final long mixed = (seed ^ index * 0x9E3779B97F4A7C15L) >>>
// The proof that this terminates uses
private static final int[] PRIMES = {2, 3, 5, 7,
double estimate = Math.exp(-lambda) * Math.pow(lambda,
return left.compareTo(right) < 0 ? merge(
String sql = "SELECT customer, sum(amount) FROM
assert quotient * divisor + remainder ==
switch (state) { case OPENING_HANDSHAKE:
END
for kind in easy hard; do
  sweep "$kind" --prompts "$work/$kind.txt" --modes early-exit --thresholds 0.9,0.8,0.6,0.4 --max-tokens 64
done
for stages in 1 2; do
  sweep "stages-$stages" --prompts "$work/easy.txt" --modes early-exit --thresholds 0.8,0.6,0.4,0.2,0 --max-tokens 100 \
    --pp $stages --nproc $stages --threads 1
done
