// SPDX-License-Identifier: GPL-2.0-only
//! Secure Boot: the firmware trusts shim, shim the unified kernel image, and the kernel a module whose
//! key the machine's owner has enrolled. The image's digest is in the kernel's command line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::sealed::{ENROLLED, KEY, SNAKEOIL, UNSIGNED, VARIABLES};
use super::stopped::Stage;
use super::{value, Stop, Tests};
use crate::qemu::{Firmware, Start};
use crate::vm;

/// A unified kernel image.
#[derive(Clone, Copy)]
struct Unified<'a> {
    /// On its command line: which test runs in the system, and which image that is.
    line: &'a str,
    is_signed: bool,
    /// Whether the module in it is.
    has_signed_module: bool,
}

impl Tests {
    /// Boots from such images.
    pub fn under_secure_boot(
        &mut self,
        sealed: &BTreeMap<String, String>,
        run: &vm::RunDirectory,
    ) -> Result<()> {
        let root = &self.system.root;
        let firmware = |variables: PathBuf| {
            Start::Firmware(Firmware {
                code: root.join("usr/share/OVMF/OVMF_CODE_4M.secboot.fd"),
                variables,
                copy: run.path("variables.fd"),
            })
        };
        let start = firmware(self.system.boot_file(ENROLLED));
        let without_key = firmware(root.join(VARIABLES.trim_start_matches('/')));
        let disk = self.disk.clone();
        let image = |test: &str, key| -> Result<String> {
            let digest = value(sealed, key)?;
            Ok(format!(
                "boot_test={test} composefs.digest=v1-sha256-12:{digest}"
            ))
        };
        let good = Unified {
            line: &image("composefs", "digest")?,
            is_signed: true,
            has_signed_module: true,
        };
        let ostree = Unified {
            line: &image("deployment", "ostree-digest")?,
            ..good
        };

        let esp = run.path("esp");
        for (name, unified) in [("secure boot", good), ("secure boot ostree", ostree)] {
            if self.is_wanted(name) {
                self.put(&unified, &esp)?;
                self.starts(name, &start, &[&disk, &esp])?;
            }
        }
        let rejected = &["modprobe", "composefs", "Key was rejected"][..];
        for (name, tampered, stage, words, unified, start) in [
            (
                "secure boot unsigned",
                "kernel, initramfs, command line",
                Stage::Shim,
                &["Security Violation"][..],
                Unified {
                    is_signed: false,
                    ..good
                },
                &start,
            ),
            (
                "secure boot unsigned module",
                "the module, which is not signed",
                Stage::Kernel,
                rejected,
                Unified {
                    has_signed_module: false,
                    ..good
                },
                &start,
            ),
            (
                "secure boot module by a stranger",
                "the module, by a key that is not enrolled",
                Stage::Kernel,
                rejected,
                good,
                &without_key,
            ),
            (
                "secure boot tampered image",
                "a byte of the image",
                Stage::SetupRoot,
                &["wrong digest"],
                Unified {
                    line: &image("composefs", "tampered")?,
                    ..good
                },
                &start,
            ),
            (
                "secure boot ostree tampered image",
                "a byte of ostree's image",
                Stage::SetupRoot,
                &["wrong digest"],
                Unified {
                    line: &image("deployment", "ostree-tampered")?,
                    ..good
                },
                &start,
            ),
        ] {
            if self.is_wanted(name) {
                let stop = Stop {
                    name,
                    tampered,
                    stage,
                    words,
                };
                self.put(&unified, &esp)?;
                self.stops(&stop, start, &[&disk, &esp])?;
            }
        }
        Ok(())
    }

    /// Makes `esp` a disk that the firmware starts shim from, and shim a unified kernel image.
    fn put(&self, unified: &Unified, esp: &Path) -> Result<()> {
        let release = &self.system.release;
        let by = format!("{KEY} --secureboot-certificate={SNAKEOIL}.pem");
        let sign = match unified.is_signed {
            true => format!("--secureboot-private-key={by}"),
            false => String::new(),
        };
        // What comes later takes the place of what was there.
        let module = match unified.has_signed_module {
            true => "",
            false => "--initrd=/boot/unsigned.img",
        };
        self.system.sh(&format!(
            "rm -rf /boot/unsigned
             mkdir -p /boot/unsigned/usr/lib/modules/{release}/updates
             cp {UNSIGNED} /boot/unsigned/usr/lib/modules/{release}/updates/composefs.ko
             (cd /boot/unsigned && find . | cpio -o -H newc >/boot/unsigned.img)
             ukify build --linux=/boot/vmlinuz-{release} --initrd=/boot/dracut.img {module} \
                 --output=/boot/uki.efi {sign} \
                 --cmdline='root=/dev/vda rw console=ttyS0 panic=-1 {}'
             sbsign --key {KEY} --cert {SNAKEOIL}.pem --output /boot/shim.efi \
                 /usr/lib/shim/shimx64.efi
             rm -f /boot/esp.img; truncate -s 256M /boot/esp.img
             mkfs.vfat /boot/esp.img
             mmd -i /boot/esp.img ::/EFI ::/EFI/BOOT
             mcopy -i /boot/esp.img /boot/shim.efi ::/EFI/BOOT/BOOTX64.EFI
             mcopy -i /boot/esp.img /boot/uki.efi ::/EFI/BOOT/grubx64.efi",
            unified.line
        ))?;
        Ok(fs::rename(self.system.boot_file("esp.img"), esp)?)
    }
}
