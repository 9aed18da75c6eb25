// SPDX-License-Identifier: GPL-2.0-only
//! What kinds of machines guests are, and how compilers and the kernel call them.

use clap::ValueEnum;

/// A kind of machine, by the name that Debian has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    /// That of the host.
    Amd64,
    /// Emulated, and compiled for on the host.
    Arm64,
}

impl Arch {
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// What is put behind the names of things in the cache that are not for the host's.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Amd64 => "",
            Self::Arm64 => "-arm64",
        }
    }

    /// As in the names of GNU's compilers and of directories of libraries.
    pub fn triplet(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }

    /// The target of rustc, for what is not compiled for the host.
    pub fn rust_target(self) -> Option<&'static str> {
        match self {
            Self::Amd64 => None,
            Self::Arm64 => Some("aarch64-unknown-linux-gnu"),
        }
    }

    /// What the kernel's make has to be told, in addition.
    pub fn make_variables(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 => &[],
            Self::Arm64 => &["ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"],
        }
    }

    /// What emulates it.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// The kernel for emulated machines.
    pub fn cloud_flavour(self) -> &'static str {
        match self {
            Self::Amd64 => "cloud-amd64",
            Self::Arm64 => "cloud-arm64",
        }
    }
}
