//! What the driver makes of a head: the one place here that knows [`cors_common::head`] and
//! [`cors_common::policy`].
//!
//! The bytes are read and decided on by the functions of the kernel program, with its limits.

use cors_common::{
    exit::Exit,
    head::{Head, LINES_MAX, PREFLIGHT_MAX},
    policy::{
        self, DRIVER_PATH_MAX, DRIVER_TEXT_MAX, NAME_MAX, NAMES_MAX, ORIGIN_MAX, Template,
        image::Line,
    },
    state::Date,
};

use super::reading::Facts;
use crate::compile::{self, Image};

/// The image with the kernel's limits: what is longer is passed on, not looked up.
#[derive(Clone, Copy)]
struct Kernel<'a> {
    lines: &'a [Line],
    templates: &'a [Template],
}

impl policy::Image for Kernel<'_> {
    const TEXT_MAX: usize = DRIVER_TEXT_MAX;
    const PATH_MAX: usize = DRIVER_PATH_MAX;

    fn line(&self, index: u32) -> Option<&Line> {
        self.lines.get(index as usize)
    }

    fn template(&self, index: u32) -> Option<&Template> {
        self.templates.get(index as usize)
    }
}

/// What the driver answers to these bytes in one segment, or why it passes them on.
pub(super) fn ask(image: &Image, date: &Date, payload: &[u8]) -> Result<Vec<u8>, Exit> {
    let (lines, templates) = image.parts();
    let mut head = read(payload)?;
    let answer = policy::decide(Kernel { lines, templates }, &image.slot, &mut head)?;
    Ok(compile::render(image, &answer, &head, date))
}

/// Which limit of the driver a preflight is beyond, where that is why it is passed on;
/// `is_allowed` by the policy itself.
pub(super) fn limit(
    exit: Exit,
    preflight: &str,
    facts: &Facts,
    is_allowed: bool,
) -> Option<String> {
    let (bytes, lines) = (preflight.len(), preflight.lines().count().saturating_sub(2));
    let longest = facts.headers.iter().map(String::len).max().unwrap_or(0);
    let over = |what: &str, has: usize, limit: usize| {
        (has > limit).then(|| format!("{what} has {has} bytes, and the driver reads {limit}"))
    };
    match exit {
        Exit::HeadTooLong => over("The head", bytes, PREFLIGHT_MAX)
            .or_else(|| over("The path", facts.path.len(), DRIVER_PATH_MAX))
            .or_else(|| {
                let limit = LINES_MAX as usize;
                let text = format!("The head has {lines} headers, and the driver reads {limit}");
                (lines > limit).then_some(text)
            }),
        Exit::RequestHeaders => {
            let count = facts.headers.len();
            let many = format!("{count} headers are asked for, and the driver reads {NAMES_MAX}");
            (count > NAMES_MAX).then_some(many).or_else(|| over("A name", longest, NAME_MAX))
        }
        Exit::MethodDenied => over("The method", facts.method.len(), NAME_MAX),
        Exit::Host => over("The host", facts.host.len(), DRIVER_TEXT_MAX),
        Exit::Origin => over("The origin", facts.origin.len(), ORIGIN_MAX),
        // Not found, because it was not looked for.
        Exit::OriginDenied if is_allowed => over("The origin", facts.origin.len(), DRIVER_TEXT_MAX),
        _ => None,
    }
}

fn read(payload: &[u8]) -> Result<Head, Exit> {
    let mut head = Head::new();
    // A head that is too long is refused by its length alone.
    let kept = payload.len().min(head.buffer().len());
    head.buffer()[..kept].copy_from_slice(&payload[..kept]);
    head.read(payload.len())?;
    Ok(head)
}
