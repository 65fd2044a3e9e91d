#!/usr/bin/env bash
# See README.md. Prints the machine's output; the exit code is 0 if everything in it passed.
set -euo pipefail
cd "$(dirname "$0")/../.."
project=$PWD
vm=$project/build/vm
seconds=${AEGIS_VM_SECONDS:-10800}
unit_tests=(os/aegis_os_test sandbox/process/aegis_sandbox_process_test)

# Debian with what the binaries need (some of it loaded when used), kept for the next time.
system_archive() {
    [[ -s $vm/system.tar ]] && return
    mkdir -p "$vm"
    local libraries
    libraries=$(ldd build/aegis build/src/os/aegis_os_test | awk '$3 ~ /^\// {print $3}' |
        sort -u | while read -r path; do
        # Some packages say /lib for what lies in /usr/lib.
        dpkg -S "$path" 2>/dev/null || dpkg -S "/usr$path"
    done | cut -d: -f1 | sort -u | paste -sd,)
    mmdebstrap --variant=apt --include="systemd-sysv,linux-image-cloud-amd64,initramfs-tools,\
udev,dbus-user-session,libpam-systemd,uidmap,kmod,procps,python3,e2fsprogs,ca-certificates,\
libcurl4,libarchive13,openssl,iproute2,$libraries" bookworm "$vm/new.tar"
    mv "$vm/new.tar" "$vm/system.tar"
}

# At its own path: the unit tests know where they were built.
copy_project() {
    local there=$1$project name
    mkdir -p "$there/build/src"
    cp -a tests examples images "$there/"
    cp -a build/aegis build/share build/test-venv "$there/build/"
    DESTDIR=$1 cmake --install build --prefix /usr >"$vm/install.log"
    for name in "${unit_tests[@]}" launcher/aegis_standalone_launcher; do
        mkdir -p "$there/build/src/${name%/*}"
        cp "build/src/$name" "$there/build/src/$name"
    done
    if [[ -n ${AEGIS_TEST_BASE_IMAGE:-} ]]; then
        cp "$AEGIS_TEST_BASE_IMAGE" "$1/base.tar"
    else
        docker save -o "$1/base.tar" aegis/python:3.11
    fi
    chmod 644 "$1/base.tar"
}

add_service() {
    printf '%q ' bash tests/vm/guest.sh "${@:2}" >"$1/root/job"
    cat >"$1/etc/systemd/system/job.service" <<EOF
[Service]
WorkingDirectory=$project
ExecStart=/bin/sh -c '. /root/job >/dev/ttyS1 2>&1; echo "exit \$?" >/dev/ttyS1; poweroff -f'
EOF
    mkdir -p "$1/etc/systemd/system/multi-user.target.wants"
    ln -s ../job.service "$1/etc/systemd/system/multi-user.target.wants/job.service"
    printf 'overlay\nloop\n' >>"$1/etc/modules"
    printf '/dev/vda / ext4 defaults 0 1\n' >"$1/etc/fstab"
    echo machine >"$1/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 machine\n' >"$1/etc/hosts"
    echo 'nameserver 192.0.2.53' >"$1/etc/resolv.conf"
}

make_disk() {
    local root
    root=$(mktemp -d)
    tar -C "$root" -xf "$vm/system.tar"
    copy_project "$root"
    add_service "$root" "$@"
    cp "$root"/boot/vmlinuz-* "$vm/kernel"
    cp "$root"/boot/initrd.img-* "$vm/initrd"
    rm -f "$vm/disk"
    truncate -s 6G "$vm/disk"
    mke2fs -q -t ext4 -d "$root" "$vm/disk"
    rm -rf "$root"
}

[[ $# -gt 0 ]] || set -- all
system_archive
make_disk "$@"
: >"$vm/job.log"
timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi,tb-size=1024 -cpu max -smp 2 -m 3072 \
    -kernel "$vm/kernel" -initrd "$vm/initrd" -no-reboot -nic none -display none \
    -monitor unix:build/vm/monitor,server,nowait \
    -append "root=/dev/vda rw console=ttyS0 panic=-1 quiet mitigations=off" \
    -drive "file=$vm/disk,if=virtio,format=raw,cache=unsafe" \
    -serial "file:$vm/console.log" -serial "file:$vm/job.log" || echo "the machine: exit $?"
tr -d '\r' <"$vm/job.log"
grep -q '^exit 0' "$vm/job.log"
