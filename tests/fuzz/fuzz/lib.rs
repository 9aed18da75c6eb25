// SPDX-License-Identifier: GPL-2.0-only
//! Makes a libFuzzer program of a target.

#![forbid(unsafe_code)]

pub use composefs_fuzz;
pub use libfuzzer_sys;

use composefs_fuzz::random::Random;
use composefs_fuzz::Target;

/// The target of this name, with its own mutations and those of libFuzzer by turns.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(
            |data: &[u8]| ($crate::composefs_fuzz::target($name).run)(data)
        );
        $crate::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8],
                                              size: usize,
                                              max_size: usize,
                                              seed: u32| {
            $crate::mutate(
                $crate::composefs_fuzz::target($name),
                data,
                size,
                max_size,
                seed,
            )
        });
    };
}

/// Changes the first `size` bytes of `data`, which has room for `max_size`; returns how many there are then.
pub fn mutate(target: &Target, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if seed % 4 == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let mut bytes = data[..size].to_vec();
    (target.mutate)(&mut bytes, &mut Random::new(u64::from(seed)));
    let len = bytes.len().min(max_size);
    data[..len].copy_from_slice(&bytes[..len]);
    len
}
