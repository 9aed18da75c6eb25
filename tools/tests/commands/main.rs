// SPDX-License-Identifier: GPL-2.0-only
//! mkcomposefs and composefs-info by themselves: one program, as several take longer to link.

mod cli;
#[path = "../common/mod.rs"]
mod common;
mod hardlinks;
mod info;
mod mkcomposefs;
mod store;
mod streams;
mod version_2;
