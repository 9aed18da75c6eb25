// SPDX-License-Identifier: GPL-2.0-only
//! How the tools ask servers: what is asked for, what the answer means, and whether to ask again.

pub mod retry;

mod client;
mod content;

pub use client::{is_same_server, Access, Action, Client, Failure, Request, Response};
pub use content::{Content, ContentReader};
