// SPDX-License-Identifier: GPL-2.0-only
//! What fuzzers do with the parser and the tools, and what must hold whatever the input is.
//!
//! Each target is a function of the input's bytes that panics if something does not hold. `scripts/fuzz` runs them under
//! libFuzzer, `cargo test` with the kept corpus and a bounded number of mutations of it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "repository")]
mod compression;
mod counted;
mod dump;
mod fields;
mod image;
#[cfg(feature = "repository")]
mod layer;
mod model;
pub mod mutate;
pub mod random;
#[cfg(feature = "repository")]
mod repository;
mod signature;
#[cfg(feature = "repository")]
mod stream;
#[cfg(feature = "service")]
mod varlink;

/// A target: its name, what it does with an input, and how inputs are changed.
pub struct Target {
    /// Its name, that of its corpus too.
    pub name: &'static str,
    /// Uses an input.
    pub run: fn(&[u8]),
    /// Changes an input in a way that leaves most of it meaningful.
    pub mutate: fn(&mut Vec<u8>, &mut random::Random),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "open",
        run: image::open,
        mutate: mutate::image,
    },
    Target {
        name: "walk",
        run: image::walk,
        mutate: mutate::image,
    },
    Target {
        name: "lookup",
        run: image::lookup,
        mutate: mutate::image,
    },
    Target {
        name: "xattr",
        run: image::xattr,
        mutate: mutate::image,
    },
    Target {
        name: "model",
        run: model::compare,
        mutate: mutate::image,
    },
    Target {
        name: "dump",
        run: dump::dump,
        mutate: mutate::text,
    },
    Target {
        name: "signature",
        run: signature::signature,
        mutate: mutate::bytes,
    },
    #[cfg(feature = "repository")]
    Target {
        name: "layer",
        run: layer::layer,
        mutate: mutate::archive,
    },
    #[cfg(feature = "repository")]
    Target {
        name: "stream",
        run: stream::stream,
        mutate: mutate::stream,
    },
    #[cfg(feature = "service")]
    Target {
        name: "varlink",
        run: varlink::varlink,
        mutate: mutate::text,
    },
];

/// The target of this name.
///
/// # Panics
///
/// If there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("no target {name}"))
}
