// SPDX-License-Identifier: GPL-2.0-only
//! The service that mounts images for users, and what it takes to call it.
//!
//! A mount needs privileges because the kernel takes an image by its word. The service has them, and
//! grants them to whoever shows that the image is one that the administrator trusts: by a signature
//! that the kernel checks, or by its digest. Everything else it writes anew in its own words, with
//! the caller for the owner of all.
//!
//! | module | |
//! | --- | --- |
//! | [`interface`] | what is said, in Varlink |
//! | [`client`] | a caller |
//! | [`conversation`], [`request`] | what callers say, and are answered |
//! | [`config`] | what the administrator says |
//! | [`service`] | takes connections, and keeps to the limits |
//! | [`worker`] | a process for each connection, which ends with no more rights than its caller |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod account;
mod bounded;
mod caller;
pub mod client;
pub mod config;
mod control;
pub mod conversation;
mod descriptors;
mod grant;
pub mod interface;
mod mounts;
mod own;
pub mod request;
pub mod service;
mod session;
mod user;
pub mod worker;
