//! What the driver makes of a head: the one place here that knows [`cors_common::head`] and
//! [`cors_common::policy`].
//!
//! The bytes are read and decided on by the functions of the kernel program, with its limits.

use cors_common::{
    exit::Exit,
    head::Head,
    policy::{self, DRIVER_PATH_MAX, DRIVER_TEXT_MAX, Policy, image::Line},
    state::Date,
};

use crate::compile::{self, Image};

/// The image with the kernel's limits: what is longer is passed on, not looked up.
#[derive(Clone, Copy)]
struct Kernel<'a> {
    lines: &'a [Line],
    policies: &'a [Policy],
}

impl policy::Image for Kernel<'_> {
    const TEXT_MAX: usize = DRIVER_TEXT_MAX;
    const PATH_MAX: usize = DRIVER_PATH_MAX;

    fn line(&self, index: u32) -> Option<&Line> {
        self.lines.get(index as usize)
    }

    fn policy(&self, index: u32) -> Option<&Policy> {
        self.policies.get(index as usize)
    }
}

/// What the driver answers to these bytes in one segment, or why it passes them on.
pub(super) fn ask(image: &Image, date: &Date, payload: &[u8]) -> Result<Vec<u8>, Exit> {
    let (lines, policies) = image.parts();
    let mut head = read(payload)?;
    let answer = policy::decide(Kernel { lines, policies }, &image.slot, date, &mut head)?;
    Ok(compile::render(image, &answer, &head, date))
}

/// The same without the limits on what is looked up: what the policy says on the agent's side.
pub(super) fn ask_without_limits(
    image: &Image,
    date: &Date,
    payload: &[u8],
) -> Result<Vec<u8>, Exit> {
    let mut head = read(payload)?;
    let answer = image.decide(date, &mut head)?;
    Ok(compile::render(image, &answer, &head, date))
}

fn read(payload: &[u8]) -> Result<Head, Exit> {
    let mut head = Head::new();
    // A head that is too long is refused by its length alone.
    let kept = payload.len().min(head.buffer().len());
    head.buffer()[..kept].copy_from_slice(&payload[..kept]);
    head.read(payload.len())?;
    Ok(head)
}
