// SPDX-License-Identifier: GPL-2.0-only
#![no_main]
composefs_fuzz_libfuzzer::target!("varlink");
