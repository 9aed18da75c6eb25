// SPDX-License-Identifier: GPL-2.0-only
//! How registries are spoken to.

use std::time::Duration;

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
    pub fn tls_verify(&self) -> bool {
        self.tls_verify
    }

    /// Servers that are no registries. What comes from them is not believed, so that they may be
    /// spoken to without TLS.
    pub fn http(&self, stall: Duration) -> composefs_http::Access {
        composefs_http::Access {
            is_verified: self.tls_verify,
            may_be_plain: true,
            authority: None,
            stall,
        }
    }

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
