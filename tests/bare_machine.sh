#!/bin/sh
# Clone this checkout's HEAD into a fresh minimal Debian (Python, venv and make, nothing else) and run make there.
#
#   sudo tests/bare_machine.sh [TARGET...]        the default target is: test
#
# Needs root, debootstrap, unshare and the network. BARE_SUITE and BARE_MIRROR choose what is installed
# (bookworm from deb.debian.org; jammy from an Ubuntu mirror works too). BARE_BIND names files and
# folders of this machine that its pip needs to reach an index (configuration, certificates, wheels).
set -eu

repository=$(cd "$(dirname "$0")/.." && pwd)
suite=${BARE_SUITE:-bookworm}
mirror=${BARE_MIRROR:-http://deb.debian.org/debian}
root=${BARE_ROOT:-$(mktemp -d /var/tmp/bare-machine.XXXXXX)}

if [ ! -x "$root/usr/bin/make" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,make "$suite" "$root" "$mirror"
fi
rm -rf "$root/home/understudy"
git clone --quiet --no-hardlinks "$repository" "$root/home/understudy"
cp /etc/resolv.conf "$root/etc/resolv.conf"

# Own mounts, seen by nobody else and gone with the shell.
root=$root targets=${*:-test} unshare --mount sh -eu -c '
    mount --make-rprivate /
    mount --bind "$root" "$root"
    for path in ${BARE_BIND:-}; do
        if [ -d "$path" ]; then mkdir -p "$root$path"; else mkdir -p "$root$(dirname "$path")"; touch "$root$path"; fi
        mount --bind "$path" "$root$path"
    done
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for missing in libGL.so.1 libportaudio.so.2; do
        if chroot "$root" ldconfig -p | grep -q "$missing"; then echo "$missing is there: not a bare machine" >&2; exit 1; fi
    done
    if chroot "$root" sh -c "command -v cc || command -v gcc || command -v git"; then exit 1; fi
    # As an ordinary user, so that nothing can lean on root.
    chroot "$root" sh -c "id builder >/dev/null 2>&1 || useradd --create-home builder; chown -R builder /home/understudy"
    for target in $targets; do
        chroot "$root" su builder --preserve-environment -c "cd /home/understudy && HOME=/home/builder make $target"
    done
'
echo "passed in $root: make ${*:-test}"
