#!/bin/bash
# Builds a base image's root file system as a tar archive, from this machine's own apt sources.
#
#   images/build.sh LANGUAGE VERSION OUT.tar
#
# OUT.tar.changes gets the image's settings as Dockerfile instructions (docker import --change). The
# archive appears under its name only when it is whole. Progress goes to stderr. Needs root (or,
# with mmdebstrap, a user with subordinate ids). Exit 2: wrong use; 3: a needed program is missing.
set -euo pipefail

say() { printf 'image: %s\n' "$*" >&2; }
die() { local code=$1; shift; printf 'error: %s\n' "$*" >&2; exit "$code"; }

[[ $# -eq 3 ]] || die 2 "usage: build.sh LANGUAGE VERSION OUT.tar"
language=$1 version=$2 out=$3
[[ $language =~ ^[a-z][a-z0-9]{0,31}$ && $version =~ ^[0-9][0-9.]{0,15}$ ]] ||
    die 2 "no such base image: $language $version"
here=$(cd "$(dirname "$0")" && pwd)
recipe=$here/$language/$version/image.conf
[[ -r $recipe ]] || die 2 "no such base image: $language $version"
suite= packages= check= check_output= finish= changes=
# shellcheck source=/dev/null
. "$recipe"

umask 022
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
# One fixed date for every file, so that the same packages give the same archive.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}
work=$(mktemp -d "${TMPDIR:-/tmp}/aegis-image.XXXXXX")
partial=$out.partial.$$
cleanup() {
    # A bind left by an interrupted debootstrap must not be followed by rm.
    awk -v w="$work/" 'index($2, w) == 1 {print $2}' /proc/self/mounts | sort -r |
        while read -r m; do umount -l "$m" || true; done
    rm -rf --one-file-system "$work" "$partial"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The Debian archives this machine uses, one "URI|suite" a line, re-aimed at the recipe's suite.
machineSources() {
    local host
    host=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [[ -n $host ]] || return 0
    apt-get indextargets --format '$(REPO_URI)|$(RELEASE)' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' |
        sed -n -E "s#\|$host(-updates|-security)?\$#|$suite\1#p" | sort -u
}
sources=$(machineSources)
if [[ -z $sources ]]; then
    say "no package lists yet: updating them"
    timeout --foreground -k 10 300 apt-get update >&2 ||
        die 1 "apt-get update failed: the base image is made from Debian packages"
    sources=$(machineSources)
fi
[[ -n $sources ]] || die 1 "this machine's apt sources name no Debian archive"
while IFS='|' read -r uri release; do
    echo "deb $uri $release main"
done <<<"$sources" >"$work/sources.list"
# The machine's proxy settings for those archives hold for the build too.
apt-config dump | grep -E '^Acquire::(http|https)::(Proxy|.*::Proxy|CaInfo)' \
    >"$work/apt.conf" || true
# Where an ordinary user builds, the scripts are read by one of the user's subordinate ids.
chmod 600 "$work/apt.conf"
chmod a+x "$work"

cat >"$work/finish.sh" <<SCRIPT
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
grep -q '^agent:' /etc/group || echo 'agent:x:1000:' >>/etc/group
grep -q '^agent:' /etc/passwd || echo 'agent:x:1000:1000::/tmp:/bin/sh' >>/etc/passwd
grep -q '^agent:' /etc/shadow || echo 'agent:*:19000:0:99999:7:::' >>/etc/shadow
$finish
got=\$($check)
[ "\$got" = "$check_output" ] || {
    echo "error: installed version is \$got, not $check_output" >&2
    exit 1
}
SCRIPT

cat >"$work/prune.sh" <<'SCRIPT'
set -eu
root=$1
cd "$root"
rm -rf var/lib/apt/lists/* var/cache/apt/* var/cache/debconf/*-old var/cache/ldconfig/* var/log/* \
    var/lib/dpkg/*-old var/backups/* usr/share/doc/* usr/share/man/* usr/share/info/* \
    usr/share/locale/* usr/share/lintian usr/share/bash-completion usr/share/zsh \
    usr/share/i18n usr/lib/*-linux-gnu/gconv \
    etc/apt/sources.list etc/apt/apt.conf.d/99mmdebstrap run/* \
    etc/hostname etc/resolv.conf etc/machine-id root/.cache root/.wget-hsts
# But mmdebstrap's own, which it takes away itself: without it, it would clean this machine's apt.
find tmp -mindepth 1 -maxdepth 1 ! -name 'mmdebstrap.apt.conf.*' -exec rm -rf {} +
# What is set at every start must exist in a root that cannot be written.
touch etc/hostname etc/resolv.conf etc/hosts
mkdir -p aegis workspace
SCRIPT

excludes=('/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*'
    '/usr/share/lintian/*')
if command -v mmdebstrap >/dev/null; then
    say "building $language $version from $suite with mmdebstrap"
    options=(--variant=essential --format=tar --mode=auto "--include=${packages// /,}")
    for path in "${excludes[@]}"; do options+=("--dpkgopt=path-exclude=$path"); done
    if [[ -s $work/apt.conf ]]; then options+=("--aptopt=$work/apt.conf"); fi
    # In the foreground: Ctrl-C must reach it, and it tidies up on SIGTERM.
    timeout --foreground -k 60 1200 mmdebstrap "${options[@]}" \
        --aptopt='APT::Install-Recommends "false"' \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --customize-hook="cp $work/finish.sh \"\$1\"/finish.sh" \
        --customize-hook='chroot "$1" sh /finish.sh && rm "$1"/finish.sh' \
        --customize-hook="sh $work/prune.sh \"\$1\"" \
        "$suite" "$partial" "$work/sources.list" >&2
elif command -v debootstrap >/dev/null; then
    say "building $language $version from $suite with debootstrap"
    [[ $EUID -eq 0 ]] ||
        die 3 "debootstrap needs root; mmdebstrap does not: apt-get install mmdebstrap"
    mirror=$(sed -n "s#^deb \(.*\) $suite main\$#\1#p" "$work/sources.list" | head -n 1)
    root=$work/root
    timeout --foreground -k 60 1200 debootstrap --variant=minbase "$suite" "$root" "$mirror" >&2
    mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
    printf 'path-exclude=%s\n' "${excludes[@]}" >"$root/etc/dpkg/dpkg.cfg.d/aegis"
    cp "$work/sources.list" "$root/etc/apt/sources.list"
    cp "$work/apt.conf" "$root/etc/apt/apt.conf.d/99mmdebstrap"
    if [[ -r /etc/resolv.conf ]]; then cp -L /etc/resolv.conf "$root/etc/resolv.conf"; fi
    mount -t proc proc "$root/proc"
    # The caller's PATH need not suit what is in there.
    timeout --foreground -k 60 1200 chroot "$root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        sh -eu -c "apt-get -q update
        apt-get -q -y --no-install-recommends install $packages
        apt-get clean" >&2
    cp "$work/finish.sh" "$root/finish.sh"
    chroot "$root" /bin/sh /finish.sh >&2
    rm "$root/finish.sh"
    umount "$root/proc"
    sh "$work/prune.sh" "$root"
    tar --sort=name --numeric-owner "--mtime=@$SOURCE_DATE_EPOCH" --clamp-mtime --xattrs \
        -C "$root" -cf "$partial" .
else
    die 3 "neither mmdebstrap nor debootstrap is installed: apt-get install mmdebstrap"
fi
sed '/^$/d' <<<"$changes" >"$out.changes"
mv "$partial" "$out"
say "$language $version: $(($(stat -c %s "$out") / 1048576)) MiB"
