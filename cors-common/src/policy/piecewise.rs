//! Steps of a decision by themselves, for whoever is not the driver: which policy a request has,
//! and whether one header name is allowed.

use super::{find_scope, found, image::Image, request::name_allowed};
use crate::{
    exit::Exit,
    head::{Head, Span},
    state::Slot,
};

/// The policy of a head that has been read, by its place in the file.
pub fn policy_of<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<u32, Exit> {
    find_scope(image, slot, head)?;
    Ok(head.policy)
}

/// Whether the policy that was found allows the request header with this name, in lower case.
pub fn header_allowed<I: Image>(
    image: I,
    slot: &Slot,
    head: &mut Head,
    name: Span,
) -> Result<bool, Exit> {
    let policy = found(&image, head)?;
    Ok(name_allowed(image, slot, policy, head, name))
}
