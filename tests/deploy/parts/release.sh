#!/usr/bin/env bash
# Does deploy/release.sh make what deploy/README.md says, and nothing of this machine? In a clone of what git knows here,
# changes included, and not optimised: it is about what comes out. What is not compared are two compilations in two folders,
# and the sizes.
source "$(dirname "$0")/../lib.sh"

command -v dpkg-deb >/dev/null || { skip 'release: this is not Debian'; exit 0; }
# Always in the same place and of the same date: what was built before is used again.
clone=$root/target/release-trial
dist=$clone/target/dist
commit=$(GIT_COMMITTER_DATE=$(git -C "$root" log -1 --format=%cI) git -C "$root" stash create)
git init --quiet "$clone"
git -C "$clone" fetch --quiet --depth 1 "$root" "${commit:-HEAD}"
git -C "$clone" checkout --quiet --force --detach FETCH_HEAD
git -C "$clone" clean --quiet --force -d
mkdir -p "$root/target/tools" "$clone/target"
ln --symbolic --force --no-dereference "$root/target/tools" "$clone/target/tools"
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=0

# Whether a call of release.sh fails, and says why.
refused() {
    local reason=$1 said
    shift
    said=$(bash "$clone/deploy/release.sh" "$@" 2>&1) && fail "it is released, and should be refused: $reason"
    grep --quiet --fixed-strings -- "$reason" <<<"$said" || fail "it should say \"$reason\", and says: $said"
}
touch "$clone/not-committed"
refused 'the work tree has changes'
rm "$clone/not-committed"
echo >>"$clone/README.md"
refused 'the work tree has changes'
git -C "$clone" checkout --quiet README.md
mkdir "$work/theirs"
touch "$work/theirs/file"
refused "$work/theirs holds something else than a release" "$work/theirs"
[[ -e $work/theirs/file ]] || fail 'what is in a folder that is no release is deleted'

# The checks of what was built need time, too.
limit=$((${SECONDS_LEFT:-1300} - 100))
# The commands of a section, as they stand there.
follow() {
    local commands code=0
    commands=$(awk -v section="$2" -v number="$3" -f "$here/blocks.awk" "$clone/deploy/$1") || fail "$1 has no block $3 of $2"
    (cd "$clone" && timeout "$limit" bash -euo pipefail -c "$commands") >"$work/said" 2>&1 || code=$?
    ((code != 124)) || { skip "release: it could not be built within $limit s"; exit 0; }
    if ((code != 0)); then
        [[ -x $root/target/tools/bin/cargo-cyclonedx && -x $root/target/tools/bin/cargo-deb ]] ||
            { skip 'release: cargo-cyclonedx and cargo-deb cannot be installed here'; exit 0; }
        fail "the commands of $2 in $1: $(tail -n 20 "$work/said")"
    fi
}
began=$SECONDS
follow README.md Releases 1
say "built after $((SECONDS - began)) s"
if grep --quiet '^==> SKIPPED: a program with musl' "$work/said"; then skip 'a released program with musl: its tools are not here'; fi

# Each file of the table is there, and no other. The one with musl is there where its tools are.
cd "$dist"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$clone/Cargo.toml" | head -n 1)
name=mpc-auth-proxy-$version-$(uname -m)-linux
package=mpc-auth-proxy_${version}_$(dpkg --print-architecture).deb
sed -n '/^## Releases/,$s/^| `\([^`]*\)`.*/\1/p' "$deploy/README.md" |
    sed "s/_ARCH/_$(dpkg --print-architecture)/; s/VERSION/$version/; s/ARCH/$(uname -m)/" >"$work/named"
diff <(grep --invert-match -- '-musl$' "$work/named" | sort) <(printf '%s\n' * | grep --invert-match -- '-musl$' | sort) ||
    fail 'what is released (>) differs from the table of deploy/README.md (<)'

# The digests are of all of it, and a changed file is found.
diff <(sed 's/^[0-9a-f]\{64\}  //' SHA256SUMS | sort) <(printf '%s\n' * | grep --invert-match '^SHA256SUMS$' | sort) ||
    fail 'SHA256SUMS (<) is not of every file (>)'
cp -r . "$work/changed"
for file in *; do
    [[ $file != SHA256SUMS ]] || continue
    printf x >>"$work/changed/$file"
    said=$(cd "$work/changed" && sha256sum --check SHA256SUMS 2>/dev/null) && fail 'a changed file has the digest of the other'
    grep --quiet "^$file: FAILED$" <<<"$said" || fail "it is not found that $file was changed"
done

# The package and the tarball hold the same program.
tar --extract --gzip --file "$name.tar.gz" --directory "$work"
dpkg-deb --extract "$package" "$work/package"
[[ $(dpkg-deb --field "$package" Version) == "$version" ]] || fail "the package's version is $(dpkg-deb --field "$package" Version)"
cmp "$work/$name/mpc-auth-proxy" "$work/package/usr/bin/mpc-auth-proxy" || fail 'the programs of the package and of the tarball differ'
for file in LICENSE man/mpc-auth-proxy.1 completions/_mpc-auth-proxy config/minimal/proxy.yaml deploy/systemd/mpc-auth-proxy.service \
    deploy/README.md; do
    [[ -s $work/$name/$file ]] || fail "the tarball has no $file"
done

# Both programs are what was built, and one of them needs nothing.
for program in "./$name-static" "$work/$name/mpc-auth-proxy"; do
    [[ $("$program" --version) == "mpc-auth-proxy $version" ]] || fail "$program is $("$program" --version)"
done
needed=$(readelf --program-headers --dynamic "$name-static" | grep -E 'INTERP|NEEDED' || true)
[[ -z $needed ]] || fail "the static program needs others: $needed"
env -i "./$name-static" demo --once >"$work/demo" || fail 'the demo of the static program'
grep --quiet '^8\. ' "$work/demo" || fail "the demo of the static program: $(tail -n 3 "$work/demo")"

# Nothing tells where it was built.
telling=$(grep --recursive --text --files-with-matches --fixed-strings -e "$clone" -e "${CARGO_HOME:-$HOME/.cargo}" \
    -e "$(rustc --print sysroot)" "$name-static" ./*.cdx.json SHA256SUMS "$work/$name" "$work/package" || true)
[[ -z $telling ]] || fail "folders of this machine are named in $telling"

# The bill has every crate that is linked, with its version.
(cd "$clone" && cargo tree --quiet --locked --edges normal --prefix none --format '{p}') >"$work/linked"
python3 - "mpc-auth-proxy-$version.cdx.json" "$version" "$work/linked" <<'CHECK' || fail 'the bill of materials'
import json, pathlib, sys

bill, version, linked = json.loads(pathlib.Path(sys.argv[1]).read_text()), sys.argv[2], pathlib.Path(sys.argv[3]).read_text()
product = bill["metadata"]["component"]
assert (bill["bomFormat"], product["name"], product["version"]) == ("CycloneDX", "mpc-auth-proxy", version), product
told = {(part["name"], "v" + part["version"]) for part in bill["components"] if part["scope"] == "required"}
linked = {tuple(line.split(" ")[:2]) for line in linked.splitlines()} - {("mpc-auth-proxy", "v" + version)}
assert len(linked) > 100, linked
assert linked <= told, f"linked and not told: {sorted(linked - told)}"
print("    the bill has", len(linked), "crates, and these that are not linked:", *sorted(name for name, _ in told - linked))
CHECK

# Once more, by another user at another place: what is packed of the same programs has the same digests.
cp SHA256SUMS "$work/first"
(umask 077 && cd "$work" && TZ=Asia/Shanghai MPC_AUTH_PROXY_CONFIG=/elsewhere bash "$clone/deploy/release.sh" again) >"$work/said" 2>&1 ||
    fail "deploy/release.sh a second time: $(tail -n 20 "$work/said")"
diff "$work/first" "$work/again/SHA256SUMS" || fail 'the same commit has other digests'
say "$(du --apparent-size --block-size=1K -- * | tr '\t' ' ' | paste --serial --delimiters=,)"
