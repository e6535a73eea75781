//! What the running kernel has of what the agent can make use of. Nothing here is required: without
//! it something is done in another way, or not at all.

use std::net::{Ipv4Addr, SocketAddr};

use aya::Btf;
use aya_obj::btf::{BtfError, BtfKind};
use nix::sys::utsname::uname;

use super::kfunc::{self, KfuncError};
use crate::host::reset::reset;

/// A function that only kernels have where links attach programs to traffic control's hooks
/// (Linux 6.6, commit e420bed02507).
const TCX: &str = "tcx_link_attach";

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// The kernel's release, as `uname -r` says it.
    pub release: String,
    /// BTF id of the function by which the kernel takes over connections that the driver accepted:
    /// [`kfunc::id`].
    pub(super) hand_over: Option<u32>,
    /// Links for traffic control's hooks.
    pub tcx: bool,
    /// Connections of this host can be reset from outside (`SOCK_DESTROY`).
    pub reset: bool,
}

impl Features {
    /// Asks the kernel.
    pub(super) fn detect(btf: &Btf) -> Result<Self, KfuncError> {
        let tcx = match btf.id_by_type_name_kind(TCX, BtfKind::Func) {
            Ok(_) => true,
            Err(BtfError::UnknownBtfTypeName { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        // Nobody has a connection with port 0; a kernel that cannot reset any says so.
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let release = uname().map(|names| names.release().to_string_lossy().into_owned());
        Ok(Self {
            release: release.unwrap_or_default(),
            hand_over: kfunc::id(btf)?,
            tcx,
            reset: reset(nobody, nobody).is_ok(),
        })
    }

    /// Whether the kernel takes over connections that the driver accepted.
    pub const fn hands_over(&self) -> bool {
        self.hand_over.is_some()
    }
}
