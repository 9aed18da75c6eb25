// SPDX-License-Identifier: GPL-2.0-only
//! What the test programs of the composefs driver share.
//!
//! Every program `t_*` runs as root inside a disposable virtual machine and prints TAP on its
//! standard output, in the dialect of the kernel's selftests. See [`setup`] for what it expects of
//! its surroundings.
#![forbid(unsafe_code)]

pub mod attributes;
pub mod basic_tree;
pub mod command;
pub mod compare;
pub mod containers;
pub mod disk;
pub mod failing_disk;
pub mod fs_context;
pub mod handle_server;
pub mod image;
pub mod integrity;
pub mod io_uring;
pub mod kernel_log;
pub mod layers;
pub mod lazy;
pub mod lazy_image;
pub mod mapped_device;
pub mod memory;
pub mod mount;
pub mod mount_service;
pub mod mountinfo;
pub mod nfs;
pub mod nginx;
pub mod observation;
pub mod oci_image;
pub mod odd_tree;
pub mod one_layer;
pub mod overlay;
pub mod pair;
pub mod policy;
pub mod python;
pub mod registry;
pub mod repository;
pub mod root_image;
pub mod setup;
pub mod signing;
pub mod small_tree;
pub mod tap;
pub mod tasks;
pub mod tree;
pub mod verity;
