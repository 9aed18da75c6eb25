// SPDX-License-Identifier: GPL-2.0-only
//! The system that is sealed: a Debian with our packages, and an initramfs by each of two tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::artifact::Artifact;
use crate::process::Log;
use crate::root::{self, Variant};
use crate::suite::Suite;
use crate::{module, note, place, system, versions, vm};

pub const SUITE: Suite = Suite::Forky;
const FLAVOUR: &str = "cloud-amd64";

/// What the system has, what makes its initramfs, and what seals it.
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "dracut-core",
    "e2fsprogs",
    "fsverity",
    "initramfs-tools",
    "keyutils",
    "libcurl3t64-gnutls",
    "openssl",
    "ostree",
    "ostree-boot",
    "systemd-sysv",
    // For Secure Boot.
    "dosfstools",
    "mtools",
    "ovmf",
    "python3-virt-firmware",
    "sbsigntool",
    "shim-unsigned",
    "systemd-boot-efi",
    "systemd-ukify",
];

/// Debian's key for tests, which its firmware can be had with; its password is known.
pub const SNAKEOIL: &str = "/usr/share/ovmf/PkKek-1-snakeoil";

/// That key without the password.
pub const KEY: &str = "/root/firmware.key";

/// The module as it was built, and the key that signs the one in use.
pub const UNSIGNED: &str = "/root/unsigned.ko";
const MODULE_KEY: &str = "/root/module";

/// The variables of a firmware that trusts Debian's key for tests.
pub const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";

/// In /boot: those once the owner of the machine has enrolled the module's key (MOK), as `mokutil`
/// and the next boot do it.
pub const ENROLLED: &str = "enrolled.fd";
const OWNER: &str = "6f3e9d1a-57c4-4b5e-9d0f-2a1c8e7b4d60";

/// The system, as directories on the host.
pub struct System {
    pub root: PathBuf,
    pub release: String,
    pub logs: PathBuf,
    log: Log,
}

impl System {
    pub fn new(run: &vm::RunDirectory, logs: PathBuf) -> Result<Self> {
        let kernels = versions::kernels(SUITE, FLAVOUR)?;
        let kernel = kernels.last().context("no kernel")?;
        let image = format!("linux-image-{}={}", kernel.release, kernel.version);
        let mut packages = PACKAGES.to_vec();
        packages.push(&image);
        let artifact = Artifact {
            name: "system-boot".into(),
            what: format!("system to be sealed, with {}", kernel.release),
            usually: "2 minutes",
            inputs: packages.iter().map(|&name| name.into()).collect(),
        };
        let base = artifact.get(|dir, log| {
            let root = dir.join("root");
            let without = root::NO_DOCUMENTATION;
            root::make(&root, SUITE, Variant::Important, &packages, without, log)
        })?;
        let log = Log::create(logs.join("install.log"))?;
        let root = run.path("root");
        log.run(
            Command::new("cp")
                .arg("-a")
                .arg(base.join("root"))
                .arg(&root),
        )?;
        Ok(Self {
            root,
            release: kernel.release.clone(),
            logs,
            log,
        })
    }

    /// A shell command in it.
    pub fn sh(&self, command: &str) -> Result<()> {
        let mut entered = root::enter(&self.root, &[])?;
        entered.args(["DEBIAN_FRONTEND=noninteractive", "sh", "-e", "-c", command]);
        self.log.run(entered.current_dir("/"))
    }

    /// The packages, the module and the test; and an initramfs by each of both ways.
    pub fn install(&self, packages: &Path) -> Result<()> {
        note!("system to be sealed: installing (usually 1 minute)");
        let release = &self.release;
        let is_wanted = |name: &str| !name.contains("dkms") && !name.contains("-dev");
        system::copy_packages(packages, &self.root, is_wanted)?;
        let module = module::build(&module::Options {
            suite: Some(SUITE),
            make: vec!["-s".into()],
            ..Default::default()
        })?;
        let updates = self.root.join(format!("usr/lib/modules/{release}/updates"));
        fs::create_dir_all(&updates)?;
        fs::copy(
            place::checkout("").join(module),
            updates.join("composefs.ko"),
        )?;
        fs::copy(
            place::checkout("scripts/in-guest/boot"),
            self.root.join("usr/lib/boot-test"),
        )?;
        fs::write(
            self.root.join("etc/systemd/system/boot-test.service"),
            "[Unit]\nAfter=multi-user.target serial-getty@ttyS0.service\n\
             [Service]\nType=oneshot\nExecStart=/bin/bash /usr/lib/boot-test\n\
             ExecStopPost=/bin/systemctl poweroff --force\n\
             [Install]\nWantedBy=multi-user.target\n",
        )?;
        fs::write(self.root.join("usr/share/boot-test-object"), [b'x'; 5000])?;
        self.sh(&format!(
            "dpkg -i --force-overwrite /root/*.deb; rm /root/*.deb
             openssl rsa -in {SNAKEOIL}.key -passin pass:snakeoil -out {KEY}
             cp /usr/lib/modules/{release}/updates/composefs.ko {UNSIGNED}
             openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=module \
                 -keyout {MODULE_KEY}.key -out {MODULE_KEY}.pem
             openssl x509 -in {MODULE_KEY}.pem -outform DER -out {MODULE_KEY}.der
             kmodsign sha512 {MODULE_KEY}.key {MODULE_KEY}.der \
                 /usr/lib/modules/{release}/updates/composefs.ko
             virt-fw-vars --input {VARIABLES} --output /boot/{ENROLLED} \
                 --add-mok {OWNER} {MODULE_KEY}.pem
             depmod {release}
             systemctl enable boot-test.service serial-getty@ttyS0.service
             openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=boot \
                 -keyout /root/key.pem -out /root/certificate.pem
             mkdir -p /etc/composefs/keys
             openssl x509 -in /root/certificate.pem -outform DER -out /etc/composefs/keys/boot.der
             mkdir -p /usr/lib/ostree
             printf '[composefs]\\nenabled=verity\\n' >/usr/lib/ostree/prepare-root.conf
             : >/etc/fstab
             echo guest >/etc/hostname
             update-initramfs -c -k {release}
             dracut --force --no-hostonly --add 'systemd ostree composefs' \
                 --add-drivers 'virtio_blk virtio_pci ext4' --kver {release} /boot/dracut.img"
        ))
    }

    pub fn boot_file(&self, name: &str) -> PathBuf {
        self.root.join("boot").join(name)
    }

    pub fn vmlinuz(&self) -> PathBuf {
        self.boot_file(&format!("vmlinuz-{}", self.release))
    }

    /// The initramfs by initramfs-tools, or by dracut.
    pub fn initrd(&self, is_dracut: bool) -> PathBuf {
        match is_dracut {
            true => self.boot_file("dracut.img"),
            false => self.boot_file(&format!("initrd.img-{}", self.release)),
        }
    }
}
