// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! What the mount option `verity=` can ask for.

use core::ffi::CStr;

/// What an object must prove when it is opened, from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verity {
    /// Nothing.
    Off,
    /// That it has the digest that the image gives for it, if it gives one.
    On,
    /// That it has the digest that the image gives for it, and it gives one.
    Require,
}

impl Verity {
    /// The level that the option `verity=` calls so.
    pub fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"off" => Some(Self::Off),
            b"on" => Some(Self::On),
            b"require" => Some(Self::Require),
            _ => None,
        }
    }

    /// The level by its number, as the option `verity_check=` of the patches of 2023 had it.
    pub fn parse_number(number: &[u8]) -> Option<Self> {
        match number {
            b"0" => Some(Self::Off),
            b"1" => Some(Self::On),
            b"2" => Some(Self::Require),
            _ => None,
        }
    }

    /// The value of the option.
    pub fn name(self) -> &'static CStr {
        match self {
            Self::Off => c"off",
            Self::On => c"on",
            Self::Require => c"require",
        }
    }
}
