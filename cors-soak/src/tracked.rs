//! Segments of connections that the kernel owns: `tracked.rs` and `outward.rs` of the kernel
//! programs, and what `handover.rs` does for them.

use cors_common::{
    checksum::Sum,
    exit::{Action, Exit},
    head::{HEAD_MAX, Head, PREFLIGHT_MAX},
    policy::{self, Answer},
    track::{
        Said, flag,
        inward::{self, Inward, Read, Request},
        offer::{self, Offer},
        outward::{Outward, Unread, send, unread},
        response::{self, Payload, STEPS},
        sack,
    },
    wire::{
        options::Negotiated,
        segment::{Segment, flags},
    },
    zero::Zero,
};

use crate::edge::Edge;

/// What is to be done with a segment before the numbers are looked at.
enum Considered {
    Pass,
    Answer(Answer),
    Again(Answer),
    Gone,
}

impl Edge {
    /// A segment of the client.
    pub(crate) fn tracked(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        place: usize,
    ) -> Result<(Exit, Option<Vec<u8>>), Exit> {
        let mut request = Request::UNREAD;
        let mut inward = Inward::NONE;
        match self.consider(frame, segment, place, &mut request, &mut inward) {
            Considered::Answer(answer) => {
                let out = self.transmit(frame, segment, &inward.tcp, Some(&answer));
                if out.len() <= frame.len() || !self.has_no_room() {
                    let track = &mut self.tracks.entries[place];
                    if !inward::answer(track, segment, answer.len, &inward) {
                        return Err(Exit::Overtaken);
                    }
                    return Ok((Exit::TrackedAnswered, Some(out)));
                }
            }
            Considered::Again(answer) => {
                let out = self.transmit(frame, segment, &inward.tcp, Some(&answer));
                if out.len() > frame.len() && self.has_no_room() {
                    return Err(Exit::NoRoomAgain);
                }
                return Ok((Exit::TrackedAgain, Some(out)));
            }
            Considered::Gone => {
                if !inward::reset(&mut self.tracks.entries[place], segment, &mut inward) {
                    return Err(Exit::Overtaken);
                }
                let out = self.transmit(frame, segment, &inward.tcp, None);
                return Ok((Exit::TrackedReset, Some(out)));
            }
            Considered::Pass => {}
        }
        let second = self.seen();
        let longest = self.setting.mss.into_iter().max().unwrap_or(0).into();
        let track = &mut self.tracks.entries[place];
        inward::pass(track, segment, &request, second, &mut inward);
        let ahead = inward::unread_ahead(track, segment, longest);
        if ahead != 0 {
            self.note_until(segment, ahead);
        }
        let out = match inward.exit.action() {
            Action::Pass => {
                let Inward { seq, ack, sack_by, sack_floor, .. } = inward;
                Some(rewritten(frame.to_vec(), segment, [seq, ack], sack_floor, sack_by))
            }
            Action::Drop => None,
            Action::Transmit => Some(self.transmit(frame, segment, &inward.tcp, None)),
        };
        Ok((inward.exit, out))
    }

    fn consider(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        place: usize,
        request: &mut Request,
        inward: &mut Inward,
    ) -> Considered {
        let track = self.tracks.entries[place];
        match inward::peek(&track, segment) {
            Read::Nothing => Considered::Pass,
            Read::Again => {
                let at = inward::again_at(&track, segment);
                let len = track.request_len as usize;
                match self.read_request(frame, segment, (at, len), true, request) {
                    Ok(answer) if answer.len == track.reply_len as usize => {
                        inward::again_fields(&track, inward);
                        Considered::Again(answer)
                    }
                    // Too early to tell: it comes again.
                    Err(Exit::LeaseExpired | Exit::Truncated) => Considered::Pass,
                    _ => Considered::Gone,
                }
            }
            read => {
                let answers = read == Read::Preflight;
                let part = (0, segment.payload_len);
                match self.read_request(frame, segment, part, answers, request) {
                    Ok(answer) if !answer.close && inward::fits(&track, segment, answer.len) => {
                        let said = said(frame, segment);
                        if !inward::is_current(&track, &said) {
                            return Considered::Pass;
                        }
                        inward::answer_fields(&track, segment, &said, inward);
                        Considered::Answer(answer)
                    }
                    _ => Considered::Pass,
                }
            }
        }
    }

    /// The request in a part of the payload: where it ends, and if it may be answered, the answer.
    fn read_request(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        (at, len): (usize, usize),
        answers: bool,
        request: &mut Request,
    ) -> Result<Answer, Exit> {
        let answers = answers && len <= PREFLIGHT_MAX;
        let len = len.min(HEAD_MAX);
        self.copy(frame, segment, at, len)?;
        let mut place = None;
        if answers {
            match self.recall(len) {
                Ok(answer) => {
                    let end = len as u32;
                    *request = Request { framed: Ok(()), end, body: 0, is_head: false };
                    return Ok(answer);
                }
                Err(free) => place = free,
            }
        }
        if let Err(exit) = self.head.read_as(len, false) {
            *request = Request::unframed(exit);
            return Err(exit);
        }
        *request = Request::framed(&self.head);
        if !answers {
            return Err(Exit::LeaseExpired);
        }
        if !inward::may_be_preflight(&self.head, len) {
            return Err(Exit::NotOptions);
        }
        self.head.judge()?;
        let answer = policy::decide(&self.image, &self.image.slot, &mut self.head)?;
        self.remember(place, len, &answer);
        Ok(answer)
    }

    /// Tracks a connection from the segment on that is about to be handed over.
    pub(crate) fn track_from(&mut self, frame: &[u8], segment: &Segment, kept: Negotiated) -> Exit {
        if !self.setting.tracks || !kept.sack() {
            self.tracks.forget(&segment.tuple);
            return Exit::HandedOver;
        }
        let len = segment.payload_len.min(HEAD_MAX);
        if len == 0 || self.copy(frame, segment, 0, len).is_err() {
            return Exit::HandedOver;
        }
        if self.head.read_as(len, false).is_err() {
            self.tracks.forget(&segment.tuple);
            return Exit::HandedOver;
        }
        let request = Request::framed(&self.head);
        let second = self.seen();
        let begun = self.tracks.begin(&segment.tuple, segment.seq, segment.ack, kept, second);
        let Some(place) = begun else { return Exit::HandedOverUntracked };
        let track = &mut self.tracks.entries[place];
        track.flags |= flag::HANDED;
        inward::pass(track, segment, &request, second, &mut Inward::NONE.clone());
        Exit::HandedOver
    }

    /// A frame of the kernel.
    pub(crate) fn outward(&mut self, frame: Vec<u8>) -> (Exit, Option<Vec<u8>>) {
        let Ok(mut segment) = Segment::read(&frame[..]) else {
            return (Exit::OutNotTracked, Some(frame));
        };
        segment.tuple = segment.tuple.returned();
        if segment.flags & flags::RST != 0
            && self.flows.get(&segment.tuple).is_some_and(|flow| flow.ends_with(segment.flags))
        {
            self.flows.forget(&segment.tuple);
        }
        if segment.flags & flags::KIND == flags::SYN | flags::ACK {
            return (self.begin(&frame, &segment), Some(frame));
        }
        let Some(place) = self.tracks.find(&segment.tuple) else {
            return (Exit::OutNotTracked, Some(frame));
        };
        let said = said(&frame, &segment);
        let len = (frame.len() - segment.payload_at()) as u32;
        let is_readable = self.follow(&frame, &segment, place, len);
        let second = self.seen();
        let mut outward = Outward::NONE;
        let track = &mut self.tracks.entries[place];
        send(track, &segment, len, &said, is_readable, second, &mut outward);
        if outward.exit.action() == Action::Drop {
            return (outward.exit, None);
        }
        let Outward { exit, seq, ack, sack_by, sack_floor } = outward;
        (exit, Some(rewritten(frame, &segment, [seq, ack], sack_floor, sack_by)))
    }

    /// A handshake that the kernel made itself.
    fn begin(&mut self, frame: &[u8], segment: &Segment) -> Exit {
        if !self.setting.tracks {
            self.tracks.forget(&segment.tuple);
            return Exit::OutNotTracked;
        }
        let (_, found) = options(frame, segment);
        if !offer::is_plain(frame, segment, &found) {
            self.tracks.forget(&segment.tuple);
            return Exit::OutNotTracked;
        }
        let offer = &self.offers[Offer::slot(&segment.tuple) as usize];
        let kept = offer.agreed(segment, &found);
        let (seq, ack) = (segment.ack, segment.seq.wrapping_add(1));
        let second = self.seen();
        match self.tracks.begin(&segment.tuple, seq, ack, kept, second) {
            Some(_) => Exit::OutBegun,
            None => Exit::OutNotTracked,
        }
    }

    /// Follows the responses; false where nobody can tell where they end.
    fn follow(&mut self, frame: &[u8], segment: &Segment, place: usize, len: u32) -> bool {
        let track = &mut self.tracks.entries[place];
        let mut at = match unread(track, segment, len) {
            Unread::From(at) => at,
            Unread::Nothing => return true,
            Unread::Gap => return false,
        };
        let mut payload = Bytes { bytes: &frame[segment.payload_at()..], head: &mut self.head };
        for _ in 0..STEPS {
            if at >= len {
                break;
            }
            let Ok(next) = response::step(track, &mut payload, at, len) else { return false };
            at = next;
        }
        at == len
    }
}

struct Bytes<'a> {
    bytes: &'a [u8],
    head: &'a mut Head,
}

impl Payload for Bytes<'_> {
    fn head(&mut self, at: u32) -> Result<&Head, Exit> {
        let rest = self.bytes.get(at as usize..).ok_or(Exit::OutOpaque)?;
        let len = rest.len().min(HEAD_MAX);
        self.head.buffer()[..len].copy_from_slice(&rest[..len]);
        self.head.response(len)?;
        Ok(self.head)
    }

    fn byte(&mut self, at: u32) -> Option<u8> {
        self.bytes.get(at as usize).copied()
    }
}

/// The options as the look-ups take them, and what is in them.
fn options(frame: &[u8], segment: &Segment) -> ([u8; sack::BUFFER], sack::Found) {
    let mut bytes = [0; sack::BUFFER];
    let (at, len) = (segment.options_at(), segment.options_len);
    bytes[..len].copy_from_slice(&frame[at..at + len]);
    let found = sack::find(&bytes, len, Zero::NEW);
    (bytes, found)
}

fn said(frame: &[u8], segment: &Segment) -> Said {
    let (bytes, found) = options(frame, segment);
    let mut said = Said { furthest: segment.ack, ..Said::default() };
    if found.sack_at != 0 {
        said.furthest = sack::furthest(&bytes, &found, segment.ack);
    }
    if found.timestamps_at != 0 {
        said.is_stamped = true;
        said.tsval = sack::number(&bytes, found.timestamps_at);
        said.tsecr = sack::number(&bytes, found.timestamps_at + 4);
    }
    said
}

/// The frame with these numbers, its checksum updated and not computed anew.
fn rewritten(
    mut frame: Vec<u8>,
    segment: &Segment,
    [seq, ack]: [u32; 2],
    sack_floor: u32,
    sack_by: u32,
) -> Vec<u8> {
    if segment.seq == seq && segment.ack == ack {
        return frame;
    }
    let mut change = Sum::ZERO;
    let (mut bytes, found) = options(&frame, segment);
    if found.sack_at != 0 {
        change = sack::change(&mut bytes, &found, sack_floor, sack_by);
        let (at, len) = (segment.options_at(), segment.options_len);
        frame[at..at + len].copy_from_slice(&bytes[..len]);
    }
    let pair = |seq: u32, ack: u32| u64::from(ack.to_be()) << 32 | u64::from(seq.to_be());
    let (old, new) = (pair(segment.seq, segment.ack), pair(seq, ack));
    let at = segment.tcp_at;
    frame[at + 4..at + 12].copy_from_slice(&new.to_ne_bytes());
    let checksum = u16::from_ne_bytes([frame[at + 16], frame[at + 17]]);
    let checksum = change.add(Sum::exchanged(old, new)).update(checksum);
    frame[at + 16..at + 18].copy_from_slice(&checksum.to_ne_bytes());
    frame
}
