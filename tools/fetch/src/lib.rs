// SPDX-License-Identifier: GPL-2.0-only
//! The objects that an image needs and that are not here, from sources that nobody has to trust: an
//! object gets its name when its fs-verity digest was found right, and who gave a wrong one is not
//! asked again.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod asked;
mod batch;
pub mod export;
pub mod fetch;
mod layout;
pub mod missing;
pub mod pack;
mod packed;
pub mod profile;
mod queue;
mod rate;
pub mod source;

pub use fetch::fetch;
pub use queue::Number;
