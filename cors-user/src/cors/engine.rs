//! Asks the compiled image: the one file of the slow path that knows how.
//!
//! A request is written down once more as the shortest head that the strict grammar reads, and that
//! is what the functions of [`cors_common::policy`] are given. So they see from here what they could
//! see from a packet, and nothing else.

use std::cell::RefCell;

use cors_common::{
    exit::Exit,
    head::{Head, PREFLIGHT_MAX, Span},
    policy::{self, NAME_MAX},
    state::Date,
};

use crate::compile::{self, Image};

/// A request that can be asked about: everything in the spelling that the image has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) origin: &'a str,
    pub(super) method: &'a str,
    /// Lower case, as they are to be looked up.
    pub(super) names: &'a [String],
    pub(super) close: bool,
}

impl<'a> Question<'a> {
    /// Only which policy it is.
    pub(super) const fn place(host: &'a str, path: &'a str) -> Self {
        Self { host, path, origin: "http://a", method: "GET", names: &[], close: false }
    }
}

thread_local! {
    static HEAD: RefCell<Box<Head>> = RefCell::default();
}

/// The image, and what follows from it about how much of a path matters.
#[derive(Debug)]
pub(super) struct Engine {
    image: Image,
    /// A path is cut here: longer by one byte than every prefix, so that what is left of a cut
    /// segment is none.
    path_max: usize,
}

impl Engine {
    pub(super) fn new(image: Image, longest_prefix: usize) -> Self {
        Self { image, path_max: longest_prefix + 1 }
    }

    /// The policy of a host and path, by its place in the file.
    ///
    /// The path must have been found to be unambiguous behind the place where it is cut: only
    /// the beginning is looked at.
    pub(super) fn policy(&self, host: &str, path: &str) -> Result<usize, Exit> {
        self.with_head(&Question::place(host, path), "", |head| self.policy_of(head))
    }

    /// Whether the origin of a question is allowed.
    pub(super) fn origin(&self, question: &Question<'_>) -> Result<(), Exit> {
        self.with_head(question, "", |head| {
            self.policy_of(head)?;
            policy::check_origin(self.image.parts(), &self.image.slot, head)
        })
    }

    /// The whole answer to a preflight. The method and the names are judged where they are `checked`.
    pub(super) fn preflight(
        &self,
        question: &Question<'_>,
        check_method: bool,
        date: &Date,
    ) -> Result<Vec<u8>, Exit> {
        let (parts, slot) = (self.image.parts(), &self.image.slot);
        let mut names = question.names;
        loop {
            let taken = self.fitting(question, names)?;
            let (now, later) = names.split_at(taken);
            let answer = self.with_head(question, &now.join(","), |head| {
                self.policy_of(head)?;
                policy::check_origin(parts, slot, head)?;
                if check_method {
                    policy::check_method(parts, slot, head)?;
                }
                let mut at = head.headers.at;
                for name in now {
                    let len = name.len() as u32;
                    if !policy::header_allowed(parts, slot, head, Span { at, len })? {
                        return Err(Exit::HeaderDenied);
                    }
                    at += len + 1;
                }
                if !later.is_empty() {
                    return Ok(Vec::new());
                }
                let answer = policy::answer(parts, slot, head)?;
                Ok(compile::render(&self.image, &answer, head, date))
            })?;
            if later.is_empty() {
                return Ok(answer);
            }
            names = later;
        }
    }

    fn policy_of(&self, head: &mut Head) -> Result<usize, Exit> {
        Ok(policy::policy_of(self.image.parts(), &self.image.slot, head)? as usize)
    }

    /// How many of the names there is room for in one head: all of them, but for long lists.
    fn fitting(&self, question: &Question<'_>, names: &[String]) -> Result<usize, Exit> {
        let used: usize = self.written(question, "x").iter().map(|piece| piece.len()).sum();
        let room = PREFLIGHT_MAX.saturating_sub(used);
        let mut used = 0;
        let taken = names.iter().take_while(|name| {
            used += name.len() + 1;
            used <= room
        });
        match taken.count() {
            0 if !names.is_empty() => Err(Exit::HeadTooLong),
            taken => Ok(taken),
        }
    }

    /// The pieces of the head that a question is written down as.
    fn written<'a>(&self, question: &Question<'a>, names: &'a str) -> [&'a str; 13] {
        let Question { host, path, origin, method, close, .. } = *question;
        let asked = if names.is_empty() { "" } else { "\r\nAccess-Control-Request-Headers: " };
        // What is cut off a segment is not its end: `/.a` must not become `/.`.
        let (path, more) = match path.get(..self.path_max) {
            Some(cut) if cut.len() < path.len() => (cut, "x"),
            _ => (path, ""),
        };
        [
            "OPTIONS ",
            path,
            more,
            " HTTP/1.1\r\nHost: ",
            host,
            "\r\nOrigin: ",
            origin,
            "\r\nAccess-Control-Request-Method: ",
            method,
            asked,
            names,
            if close { "\r\nConnection: close" } else { "" },
            "\r\n\r\n",
        ]
    }

    fn with_head<T>(
        &self,
        question: &Question<'_>,
        names: &str,
        ask: impl FnOnce(&mut Head) -> Result<T, Exit>,
    ) -> Result<T, Exit> {
        if question.method.len() > NAME_MAX {
            return Err(Exit::MethodDenied);
        }
        HEAD.with_borrow_mut(|head| {
            let mut len = 0;
            for piece in self.written(question, names) {
                let room = head.buffer().get_mut(len..len + piece.len());
                room.ok_or(Exit::HeadTooLong)?.copy_from_slice(piece.as_bytes());
                len += piece.len();
            }
            head.read(len)?;
            ask(head)
        })
    }
}
