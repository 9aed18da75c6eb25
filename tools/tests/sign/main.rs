// SPDX-License-Identifier: GPL-2.0-only
//! `composefs-info sign` and `verify --signature`, beside the `openssl` command.

#[path = "../common/mod.rs"]
mod common;
mod pki;

mod chains;
mod keys;
mod refusals;
mod usage;
