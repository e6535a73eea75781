//! Requests that are read and looked up, and the frames that answer them: what `look_up` and
//! `transmit` of the kernel programs do.

use cors_common::{
    checksum::Sum,
    exit::Exit,
    head::PREFLIGHT_MAX,
    policy::{self, Answer, memo::Memo},
    wire::{
        reply::{Reply, TcpFields},
        segment::Segment,
    },
};

use crate::edge::Edge;

/// Where to remember an answer; `None`: nowhere.
pub(crate) type Place = Option<usize>;

impl Edge {
    /// Whether this packet's buffer is one that cannot grow.
    pub(crate) const fn has_no_room(&mut self) -> bool {
        self.grown += 1;
        self.setting.no_room != 0 && self.grown.is_multiple_of(self.setting.no_room)
    }

    /// Copies out what there is to be read, from a place in the payload.
    pub(crate) fn copy(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        at: usize,
        len: usize,
    ) -> Result<(), Exit> {
        let at = segment.payload_at() + at;
        let text = frame.get(at..at + len).ok_or(Exit::Truncated)?;
        self.head.buffer()[..len].copy_from_slice(text);
        Ok(())
    }

    /// Decides on the first request of a payload.
    pub(crate) fn look_up(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        len: usize,
    ) -> Result<Answer, Exit> {
        if len == 0 || len > PREFLIGHT_MAX {
            return Err(Exit::HeadTooLong);
        }
        self.copy(frame, segment, 0, len)?;
        let place = match self.recall(len) {
            Ok(answer) => return Ok(answer),
            Err(place) => place,
        };
        self.head.read(len)?;
        let answer = policy::decide(&self.image, &self.image.slot, &mut self.head)?;
        self.remember(place, len, &answer);
        Ok(answer)
    }

    /// The answer that is remembered for the head, or where to remember one.
    pub(crate) fn recall(&mut self, len: usize) -> Result<Answer, Place> {
        self.head.seal(len);
        if !Memo::holds(len) {
            return Err(None);
        }
        let generation = self.image.slot.generation;
        let fold = Memo::fold(&self.head, len);
        self.head.mark = (fold >> 32) as u32;
        let mark = self.head.mark;
        let first = fold as usize & (self.memo.len() - 1);
        let (a, b) = (&self.memo[first], &self.memo[first ^ 1]);
        let mut answer = Answer::NONE;
        if a.recall(&self.head, len, generation, mark, &mut answer)
            || b.recall(&self.head, len, generation, mark, &mut answer)
        {
            return Ok(answer);
        }
        let is_first = !a.is_of(generation) || (b.is_of(generation) && mark & 1 == 0);
        Err(Some(if is_first { first } else { first ^ 1 }))
    }

    /// Remembers an answer.
    pub(crate) fn remember(&mut self, place: Place, len: usize, answer: &Answer) {
        let mark = self.head.mark;
        if let Some(place) = place
            && self.memo[place].is_missed_again(mark)
        {
            let generation = self.image.slot.generation;
            self.memo[place].note(&self.head, len, generation, mark, answer);
        }
    }

    /// The frame that goes back, with an answer if there is one.
    pub(crate) fn transmit(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        tcp: &TcpFields,
        answer: Option<&Answer>,
    ) -> Vec<u8> {
        let (body_len, body_sum) = match answer {
            Some(answer) => {
                let template = self.image.entry(answer.template);
                (answer.len, answer.write(template, &self.date, &self.head, &mut self.reply))
            }
            None => (0, Sum::ZERO),
        };
        let headers = self.reply.write_headers(segment, tcp, body_len, body_sum);
        let mut out = Vec::with_capacity(segment.ip_at + headers + body_len);
        out.extend_from_slice(&frame[6..12]);
        out.extend_from_slice(&frame[..6]);
        out.extend_from_slice(&frame[12..segment.ip_at]);
        let bytes = bytemuck::bytes_of(&*self.reply);
        let start = Reply::start(segment.family, tcp.option_words);
        out.extend_from_slice(&bytes[start..start + headers + body_len]);
        out
    }
}
