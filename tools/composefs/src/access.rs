// SPDX-License-Identifier: GPL-2.0-only
//! How registries are spoken to.

use clap::Args;
use composefs_oci::source::registry::{Settings, Trust};

/// The options that say how.
#[derive(Args, Debug)]
pub struct Access {
    /// Whether registries have to prove who they are; if not, also by HTTP without TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    tls_verify: bool,
}

impl Access {
    pub fn settings(&self) -> Settings {
        Settings {
            trust: if self.tls_verify {
                Trust::Configured
            } else {
                Trust::Nobody
            },
            ..Settings::default()
        }
    }
}
