#!/bin/sh
# Whether a commit decodes slower than another: bench/compare.sh OLD_COMMIT [NEW_COMMIT] [-- OPTIONS]
#
# Builds both (NEW_COMMIT is HEAD if left out) in worktrees under target/compare, and runs
# `eellm bench decode --json` of both in turns, with OPTIONS of it, such as --config FILE. TURNS=7
# takes more turns than five. Exit codes: 0 not slower, 1 slower by more than 5 % in some figure (or
# it could not be measured), 2 wrong use.
set -eu

usage() {
  echo "compare.sh: $1; use bench/compare.sh OLD_COMMIT [NEW_COMMIT] [-- OPTIONS]" >&2
  exit 2
}

here=$PWD
root=$(CDPATH='' cd -- "$(dirname "$0")/.." && pwd -P)
work=$root/target/compare
least=0.95
turns=${TURNS:-5}
case $turns in
  '' | *[!0-9]* | 0) usage "TURNS: '$turns' is not a number of 1 or more" ;;
esac

commit() {
  git -C "$root" rev-parse --verify --quiet "$1^{commit}" ||
    usage "'$1' is no commit of this repository"
}

[ $# -ge 1 ] && [ "$1" != -- ] || usage 'OLD_COMMIT is missing'
old=$(commit "$1") || exit 2
shift
new=$(git -C "$root" rev-parse HEAD)
if [ $# -ge 1 ] && [ "$1" != -- ]; then
  new=$(commit "$1") || exit 2
  shift
fi
if [ $# -ge 1 ]; then
  [ "$1" = -- ] || usage "'$1' is one argument too many"
  shift
fi
[ "$old" != "$new" ] || usage "$old is both OLD_COMMIT and NEW_COMMIT, and there is nothing to compare"

# Builds commit $2 in the worktree $1.
prepare() {
  tree=$work/$1
  if [ -e "$tree/.git" ]; then
    git -C "$tree" checkout --quiet --force --detach "$2"
  else
    git -C "$root" worktree prune
    git -C "$root" worktree add --quiet --force --detach "$tree" "$2"
  fi
  "$tree/eellm" bench decode --help >/dev/null ||
    {
      echo "compare.sh: $2 has no 'eellm bench decode'; compare with a later commit" >&2
      exit 1
    }
}

# Runs the build in the worktree $1 with the other arguments; the result goes to a file of its turn.
measure() {
  name=$1
  shift
  (cd "$here" && "$work/$name/eellm" bench decode --batch-size 1,8 --rows 1,8 --json "$@") \
    >"$work/$name-$turn.json" ||
    {
      echo "compare.sh: 'eellm bench decode' failed with the $name commit; what it says is above" >&2
      exit 1
    }
}

# Prints figures of the result $1: a name, whether more is better, a value.
figures() {
  tr '{' '\n' <"$1" | awk '
    function value(key,   rest) {
      if (!match($0, "\"" key "\":")) return ""
      rest = substr($0, RSTART + RLENGTH)
      sub(/[,}].*/, "", rest)
      gsub(/"/, "", rest)
      return rest
    }
    value("head") == "final" && value("tokens_per_second") != "" {
      print "tokens/s_of_" value("batch") "_texts more", value("tokens_per_second")
    }
    value("context") != "" { rows = value("rows") }
    /"step":$/ { in_step = 1; next }
    in_step {
      in_step = 0
      print "us_of_a_step_of_" rows "_rows less", value("microseconds")
    }'
}

mkdir -p "$work"
rm -f "$work"/*.json
prepare old "$old"
prepare new "$new"
case " $* " in
  *' --rounds '*) ;;
  *) set -- --rounds 3 "$@" ;;
esac
turn=1
: >"$work/ratios"
while [ "$turn" -le "$turns" ]; do
  echo "turn $turn of $turns" >&2
  measure old "$@"
  measure new "$@"
  figures "$work/old-$turn.json" >"$work/old-figures"
  figures "$work/new-$turn.json" >"$work/new-figures"
  paste -d ' ' "$work/old-figures" "$work/new-figures" >>"$work/ratios"
  turn=$((turn + 1))
done

awk -v old="$old" -v new="$new" -v least="$least" '
  function median(name, values,   n, i, j, t, sorted) {
    n = count[name]
    for (i = 1; i <= n; i++) sorted[i] = values[name, i]
    for (i = 2; i <= n; i++)
      for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) {
        t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t
      }
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
  }
  NF != 6 || $1 != $4 || !($3 > 0) || !($6 > 0) { broken = 1; next }
  {
    if (!($1 in count)) names[++known] = $1
    n = ++count[$1]
    a[$1, n] = $3
    b[$1, n] = $6
    ratio[$1, n] = $2 == "more" ? $6 / $3 : $3 / $6
  }
  END {
    if (broken || known != 4) {
      print "compare.sh: the figures of both commits do not match; see the .json files in target/compare" > "/dev/stderr"
      exit 1
    }
    printf "old %s\nnew %s\n", old, new
    printf "%-26s %12s %12s %22s\n", "medians of turns", "old", "new", "speed, new over old"
    for (i = 1; i <= known; i++) {
      name = names[i]
      speed = median(name, ratio)
      text = name
      gsub(/_/, " ", text)
      printf "%-26s %12.1f %12.1f %22.3f%s\n", text, median(name, a), median(name, b), speed, speed < least ? "  slower" : ""
      if (speed < least) slower = 1
    }
    exit slower
  }' "$work/ratios"
