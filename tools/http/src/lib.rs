// SPDX-License-Identifier: GPL-2.0-only
//! How the tools ask servers: what is asked for, what the answer means, and whether to ask again.

pub mod retry;

mod client;

pub use client::{Access, Client, Failure, Request, Response};
