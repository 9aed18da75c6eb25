// SPDX-License-Identifier: GPL-2.0-only
//! The Debian suites that kernels and programs come from.

use std::fmt;

use clap::ValueEnum;

/// A suite, or what guests run that comes from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Suite {
    /// Debian 13, whose backports have the newest kernels.
    Trixie,
    /// The oldest kernel that is supported, and the guest's programs.
    Forky,
    /// Not a suite: the kernel that looks for its own bugs, made of trixie's source.
    Debug,
}

impl Suite {
    pub fn name(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Forky => "forky",
            Self::Debug => "debug",
        }
    }

    /// The suite whose packages are used.
    pub fn debian(self) -> Self {
        match self {
            Self::Debug => Self::Trixie,
            suite => suite,
        }
    }

    /// The suites of the archive that its packages come from.
    pub fn pockets(self) -> &'static [&'static str] {
        match self.debian() {
            Self::Trixie | Self::Debug => &["trixie", "trixie-backports"],
            Self::Forky => &["forky"],
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
