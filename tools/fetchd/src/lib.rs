// SPDX-License-Identifier: GPL-2.0-only
//! Objects that come when they are opened.
//!
//! A mount of an image whose objects are not all here has three basedirs: the store, a *trigger*, and
//! the store again. The trigger is a file system in user space with nothing in it. The driver looks
//! for an object there only if the store has it not; that lookup is not answered before the object
//! was fetched, checked and given its name in the store, or cannot be had. The answer is "no such
//! file" either way, and the driver looks in the store once more, where it checks what it finds as
//! it does with any object. So nothing that this daemon does or fails to do can make the driver serve
//! what the image does not name, and an object that is here costs what it did without the daemon.
//!
//! - [`fuse`]: what the kernel says and is told;
//! - [`trigger`]: one such file system;
//! - [`demand`]: which objects of an image are waited for, and since when nobody waits any more;
//! - [`ahead`]: which others are fetched with them, as they will be waited for next;
//! - [`image`]: fetches those, and the rest when nobody waits;
//! - [`service`]: a process that serves triggers, and [`keeper`], which keeps their connections when
//!   that process ends;
//! - [`client`]: asks for a trigger.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod ahead;
pub mod client;
pub mod demand;
pub mod fuse;
pub mod image;
pub mod keeper;
pub mod message;
pub mod service;
pub mod trigger;

/// Where the service listens.
pub const SOCKET: &str = "/run/composefs/fetchd";
