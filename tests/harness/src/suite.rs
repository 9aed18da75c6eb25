// SPDX-License-Identifier: GPL-2.0-only
//! What kernels and programs come from: Debian's suites, and the kernels that they have.

use std::fmt;

use clap::ValueEnum;

use crate::arch::Arch;

/// A suite, or what guests run that comes from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Suite {
    /// Debian 13, whose backports have the newest kernels.
    Trixie,
    /// The oldest kernel that is supported, and the guest's programs.
    Forky,
    /// Not suites: kernels that look for their own bugs, made of trixie's source, this one for those
    /// of memory and locks,
    Debug,
    /// and this one for races.
    Kcsan,
    /// Not suites, but other kernels of trixie's: one in which nearly all can be preempted,
    RtAmd64,
    /// one for emulated ARM machines,
    CloudArm64,
    /// one for all ARM machines,
    Arm64,
    /// and one for those with pages of 16 KiB.
    #[value(name = "arm64-16k")]
    Arm64Pages16K,
}

impl Suite {
    /// That with the newest kernel for emulated machines.
    pub fn of(arch: Arch) -> Self {
        match arch {
            Arch::Amd64 => Self::Trixie,
            Arch::Arm64 => Self::CloudArm64,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Forky => "forky",
            Self::Debug => "debug",
            Self::Kcsan => "kcsan",
            other => other.flavour(),
        }
    }

    /// The suite whose packages are used.
    pub fn debian(self) -> Self {
        match self {
            Self::Forky => Self::Forky,
            _ => Self::Trixie,
        }
    }

    /// The suites of the archive that its packages come from.
    pub fn pockets(self) -> &'static [&'static str] {
        match self.debian() {
            Self::Forky => &["forky"],
            _ => &["trixie", "trixie-backports"],
        }
    }

    /// Whether it is a kernel that looks for its own bugs, with the driver built in.
    pub fn is_debug(self) -> bool {
        matches!(self, Self::Debug | Self::Kcsan)
    }

    /// What machine it is for.
    pub fn arch(self) -> Arch {
        match self {
            Self::Trixie | Self::Forky | Self::Debug | Self::Kcsan | Self::RtAmd64 => Arch::Amd64,
            Self::CloudArm64 | Self::Arm64 | Self::Arm64Pages16K => Arch::Arm64,
        }
    }

    /// Which of the kernels of that suite for that machine.
    pub fn flavour(self) -> &'static str {
        match self {
            Self::RtAmd64 => "rt-amd64",
            Self::Arm64 => "arm64",
            Self::Arm64Pages16K => "arm64-16k",
            other => other.arch().cloud_flavour(),
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The packages of a suite for an architecture.
#[derive(Clone, Copy)]
pub struct Archive {
    pub suite: Suite,
    pub arch: Arch,
}

impl Archive {
    pub fn new(suite: Suite, arch: Arch) -> Self {
        Self {
            suite: suite.debian(),
            arch,
        }
    }
}

impl From<Suite> for Archive {
    fn from(suite: Suite) -> Self {
        Self::new(suite, suite.arch())
    }
}

/// As it is called in the cache and in messages.
impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.suite, self.arch.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_the_names_that_commands_take() {
        for &suite in Suite::value_variants() {
            assert_eq!(Suite::from_str(suite.name(), false), Ok(suite));
        }
    }

    #[test]
    fn what_is_for_the_host_has_the_name_of_the_suite() {
        assert_eq!(Archive::from(Suite::RtAmd64).to_string(), "trixie");
        assert_eq!(Archive::from(Suite::Arm64).to_string(), "trixie-arm64");
        assert_eq!(
            Archive::new(Suite::Forky, Arch::Arm64).to_string(),
            "forky-arm64"
        );
    }
}
