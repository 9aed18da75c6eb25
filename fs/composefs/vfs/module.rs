// SPDX-License-Identifier: GPL-2.0-only

//! A kernel module that is one file system.

use super::{filesystem::FileSystem, mount, registration::Registration, super_operations};
use kernel::{prelude::*, InPlaceModule};

/// For `module!`.
#[pin_data]
pub(crate) struct Module<T: FileSystem> {
    #[pin]
    registration: Registration<T>,
}

impl<T: super_operations::Operations> InPlaceModule for Module<T> {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // SAFETY: Both are for this type.
            registration <- unsafe {
                Registration::new(module, mount::init::<T>, super_operations::kill::<T>)
            },
        }? Error)
    }
}
