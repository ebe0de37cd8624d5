#!/usr/bin/env bash
# Deploys to a folder as to a public repository, and checks what Central asks of each artifact: in its POM a name, a
# description, a page, a licence, developers and the sources' place; sources and Javadoc; checksums; signatures, where gpg is.
#
#   deploy/test/publish.sh
#
# The key, the page and the version are made up for this test. All of it lies in target/publish.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$root/target/publish
rm -rf "$work"
mkdir -p "$work"
options=(-Dpublish.url=https://example.org/eellm -Dpublish.scm=scm:git:https://example.org/eellm.git)
if command -v gpg >/dev/null; then
  GNUPGHOME=$(mktemp -d)
  export GNUPGHOME
  trap 'gpgconf --kill gpg-agent; rm -rf "$GNUPGHOME"' EXIT
  gpg --batch --quiet --passphrase '' --quick-generate-key test@example.org default default 1d
  options+=(-Dgpg.keyname=test@example.org)
fi

cd "$root"
if mvn -B -q -Ppublish -N validate >"$work/without" 2>&1; then
  echo "published without the project's page" >&2
  exit 1
fi
grep -o 'give -Dpublish.url=[^ ]*' "$work/without"

mvn -B -q -Ppublish -DskipTests "${options[@]}" -DaltDeploymentRepository="test::file://$work/repository" deploy

failures=0
require() { # WHAT CONDITION...
  "${@:2}" || {
    echo "missing: $1" >&2
    failures=$((failures + 1))
  }
}

artifacts=0
for pom in "$work"/repository/org/eellm/*/*/*.pom; do
  name=${pom%.pom}
  artifacts=$((artifacts + 1))
  # What it says itself or has from its parent, but for a BOM, which has none.
  facts="name description"
  case $name in */eellm-parent/* | */eellm-bom/*) facts="name description url licenses developers scm" ;; esac
  for fact in $facts; do
    require "$fact in $pom" grep -qE "^  <$fact( .*)?>(.*[^ ].*</$fact>)?$" "$pom"
  done
  # shellcheck disable=SC2016 # Maven's variables, not ours.
  require "a value of \${publish...} in $pom" test "$(grep -c '\${publish\.' "$pom")" = 0
  grep -q '<packaging>pom</packaging>' "$pom" || for kind in "" -sources -javadoc; do
    require "$name$kind.jar" test -s "$name$kind.jar"
  done
  for file in "$name"*.pom "$name"*.jar; do
    [ -e "$file" ] || continue
    for sum in md5 sha1; do
      require "$file.$sum" test "$("${sum}sum" "$file" | cut -d ' ' -f 1)" = "$(cat "$file.$sum")"
    done
    ! command -v gpg >/dev/null || require "$file.asc" gpg --quiet --verify "$file.asc" "$file" 2>/dev/null
  done
done
echo "$artifacts artifacts, $failures failures"
[ "$failures" = 0 ] && [ "$artifacts" -gt 0 ]
