#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A root file system from a composefs image, for dracut. Nothing happens in an initramfs
# with it unless the kernel command line names an image, or ostree mounts one.
#
# The variables in lower case are dracut's.
# shellcheck disable=SC2154

check() {
    require_binaries composefs-setup-root modprobe
}

depends() {
    echo systemd
}

installkernel() {
    hostonly='' instmods composefs overlay erofs loop
}

install() {
    inst_multiple composefs-setup-root modprobe kill sleep sh
    inst_simple /usr/lib/composefs/boot-root
    inst_simple /usr/lib/composefs/load-keys
    inst_multiple -o /usr/lib/composefs/setup-root-conf.toml /etc/composefs/keys/*.der
    [[ ! -e $initdir/etc/composefs/keys ]] || inst_multiple keyctl
    inst_simple "$moddir/composefs-setup-root.service" "$systemdsystemunitdir/composefs-setup-root.service"
    $SYSTEMCTL -q --root "$initdir" add-wants initrd-root-fs.target composefs-setup-root.service
}
