//! The answer to a preflight that is allowed: what it consists of, and how it is put together.
//!
//! ```text
//! template      of the policy: status line and headers, with zeros in the date's place
//! date          from the state, into its place
//! origin        from the request, where the policy echoes it
//! end           CRLF CRLF, or CRLF "Connection: close" CRLF CRLF
//! ```
//!
//! The sum of the pieces is known before any of them is written, so writing is nothing but copying.

use super::{
    ORIGIN_MAX, found,
    image::{Image, TEMPLATE_MAX, Template},
};
use crate::{
    checksum::Sum,
    exit::Exit,
    head::{Head, Span},
    state::{DATE_LEN, Date, Slot},
    swar::{load, low_bytes, words},
    wire::reply::Reply,
};

/// An answer to a preflight, still in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Answer {
    /// Sum of all pieces but the date.
    pub sum: Sum,
    /// Bytes of all pieces.
    pub len: usize,
    /// Which policy it is of, by its place in the file and from the generation's first.
    pub policy: u32,
    /// Which of the templates it begins with.
    pub template: u32,
    /// The origin in the buffer of the head; empty where it is not echoed.
    pub origin: Span,
    /// The connection closes behind it.
    pub close: bool,
}

impl Answer {
    /// No answer yet.
    pub const NONE: Self = Self {
        sum: Sum::ZERO,
        len: 0,
        policy: 0,
        template: 0,
        origin: Span { at: 0, len: 0 },
        close: false,
    };

    /// Becomes the same, field by field: copied as a whole it would be copied byte by byte.
    #[inline(always)]
    pub(super) const fn set(&mut self, from: &Self) {
        self.sum = from.sum;
        self.len = from.len;
        self.policy = from.policy;
        self.template = from.template;
        self.origin.at = from.origin.at;
        self.origin.len = from.origin.len;
        self.close = from.close;
    }
}

const BLANK: &str = "\r\n\r\n";
const CLOSE: &str = "\r\nConnection: close\r\n\r\n";

const BLANK_WORDS: [u64; 1] = words(BLANK);
const CLOSE_WORDS: [u64; 3] = words(CLOSE);
const BLANK_SUM: Sum = Sum::of(BLANK.as_bytes());
const CLOSE_SUM: Sum = Sum::of(CLOSE.as_bytes());

/// Bytes of the template that are written at once.
const TURN: usize = 24;
const _: () = assert!(TEMPLATE_MAX.is_multiple_of(TURN));

/// Words of the longest origin.
const ORIGIN_WORDS: usize = ORIGIN_MAX.div_ceil(8);

/// The answer to a head that was found to be allowed: the last step of [`super::decide`].
#[inline(always)]
pub fn answer<I: Image>(image: I, slot: &Slot, head: &Head) -> Result<Answer, Exit> {
    let number = slot.policy_base.wrapping_add(found(&image, head)?.template);
    let template = image.template(number).ok_or(Exit::Internal)?;
    let echo = if head.echo == 0 { 0 } else { head.origin.len };
    let origin = Span { at: head.origin.at, len: echo };
    let close = head.close != 0;
    let (end_len, end_sum) =
        if close { (CLOSE.len(), CLOSE_SUM) } else { (BLANK.len(), BLANK_SUM) };
    let first_len = template.len as usize;
    let rest = origin_sum(head, origin).add_at(echo as usize, end_sum);
    Ok(Answer {
        sum: Sum::folded(template.sum).add_at(first_len, rest),
        len: first_len + echo as usize + end_len,
        policy: slot.policy_base.wrapping_add(head.policy),
        template: number,
        origin,
        close,
    })
}

#[inline(always)]
fn origin_sum(head: &Head, origin: Span) -> Sum {
    let (at, whole) = (origin.at as usize, origin.len as usize / 8);
    let mut sum = Sum::ZERO;
    let end = head.zero.blur(whole);
    for i in 0..ORIGIN_WORDS {
        if i >= end {
            break;
        }
        sum = sum.word(head.word(at + i * 8));
    }
    sum.word(low_bytes(head.word(at + whole * 8), origin.len as usize % 8))
}

impl Answer {
    /// Writes the payload of the reply and returns its sum. `template` is the one that
    /// [`Answer::template`] names, `head` the one that was asked about.
    ///
    /// Whole words are written: each piece overwrites what the one before it wrote too much.
    #[inline(always)]
    pub fn write(&self, template: &Template, date: &Date, head: &Head, reply: &mut Reply) -> Sum {
        let first_len = template.len as usize;
        // Lengths that loops compare with are blurred: see `crate::zero`.
        let end = head.zero.blur(first_len);
        for i in 0..TEMPLATE_MAX / TURN {
            let at = i * TURN;
            if at >= end {
                break;
            }
            reply.put(at, load(&template.text, at));
            reply.put(at + 8, load(&template.text, at + 8));
            reply.put(at + 16, load(&template.text, at + 16));
        }
        let date_at = template.date_at as usize;
        // The last two words overlap.
        reply.put(date_at, load(&date.text, 0));
        reply.put(date_at + 8, load(&date.text, 8));
        reply.put(date_at + 16, load(&date.text, 16));
        reply.put(date_at + DATE_LEN - 8, load(&date.text, DATE_LEN - 8));
        let Span { at, len } = self.origin;
        let end = head.zero.blur(len as usize);
        for i in 0..ORIGIN_WORDS {
            if i * 8 >= end {
                break;
            }
            reply.put(first_len + i * 8, head.word(at as usize + i * 8));
        }
        let end = first_len + len as usize;
        if self.close {
            reply.put(end, CLOSE_WORDS[0]);
            reply.put(end + 8, CLOSE_WORDS[1]);
            reply.put(end + 16, CLOSE_WORDS[2]);
        } else {
            reply.put(end, BLANK_WORDS[0]);
        }
        self.sum.add_at(date_at, Sum::folded(date.sum))
    }
}
