//! Connections that would break without the programs, because the two ends count differently: they
//! are reset before the programs go, so that clients ask again and nobody reads wrong bytes.

use tracing::{info, warn};

use crate::{host::reset::reset, kernel::tracks::Uneven};

/// Resets them all, and says how many that were.
pub(super) fn reset_all(connections: &[Uneven], why: &str) {
    for (local, remote) in connections {
        if let Err(error) = reset(*local, *remote) {
            warn!("a connection that cannot go on without the programs cannot be reset: {error}");
        }
    }
    if !connections.is_empty() {
        info!(
            "{} connections on which the driver had answered were reset, since {why}",
            connections.len()
        );
    }
}
