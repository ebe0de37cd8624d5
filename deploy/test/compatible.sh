#!/usr/bin/env bash
# Tries the check of compatibility, mvn verify -Dcompatible.with=VERSION. This tree's core, installed as a version of its own, is
# compatible with this tree. With a public method more it is not, and the check names the method.
#
#   deploy/test/compatible.sh
#
# What it installs and downloads (japicmp, the first time) lies in target/compatible; the local Maven repository is only read.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
version=0.0.1
work=$root/target/compatible
repository=$work/repository
published=$repository/org/eellm
rm -rf "$published" "$work/classes"
mkdir -p "$work/classes"

build() {
  mvn -B -q -pl eellm-core -am -Dmaven.test.skip=true -Dmaven.repo.local="$repository" \
    -Dmaven.repo.local.tail="${MAVEN_REPOSITORY:-$HOME/.m2/repository}" "$@" verify
}

build
snapshot=$(sed -n 's:^  <version>\(.*\)</version>:\1:p' pom.xml)
for module in parent libtorch core; do
  folder=$published/eellm-$module/$version
  mkdir -p "$folder"
  pom=eellm-$module/pom.xml
  [ $module != parent ] || pom=pom.xml
  sed "s:<version>$snapshot</version>:<version>$version</version>:" "$pom" >"$folder/eellm-$module-$version.pom"
  [ $module = parent ] || cp "eellm-$module/target/eellm-$module-$snapshot.jar" "$folder/eellm-$module-$version.jar"
done
jar=$published/eellm-core/$version/eellm-core-$version.jar

build -Dcompatible.with=$version

sed '$d' eellm-core/src/main/java/org/eellm/Completion.java >"$work/Completion.java"
echo '  public int removedSince() { return 0; } }' >>"$work/Completion.java"
javac -proc:none -implicit:none -cp "$jar" -d "$work/classes" "$work/Completion.java"
jar --update --file "$jar" -C "$work/classes" org
if build -Dcompatible.with=$version >"$work/report" 2>&1; then
  echo "a public method was removed, and the check of compatibility passed" >&2
  exit 1
fi
grep -o 'org\.eellm\.Completion\.removedSince[^ ,]*' "$work/report" || {
  echo "the check of compatibility failed for another reason:" >&2
  cat "$work/report" >&2
  exit 1
}
