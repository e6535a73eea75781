//! A client against a scripted server.

use std::vec::Vec;

use bytemuck::Zeroable as _;
use cors_common::wire::segment::{Address, Family, Segment, Tuple, flags};

use super::*;

const ISN: u32 = u32::MAX - 100;
const THEIR_ISN: u32 = u32::MAX - 200;
const REQUEST: u32 = 500;
const REPLY: u32 = 300;
const ONCE: Habit = Habit { per_connection: 1, paced: false, record: true };

#[derive(Default)]
struct Counted {
    counts: Vec<Count>,
    latencies: Vec<u64>,
}

impl Tally for Counted {
    fn add(&mut self, count: Count, _more: u64) {
        self.counts.push(count);
    }

    fn latency(&mut self, ns: u64) {
        self.latencies.push(ns);
    }
}

struct Play {
    conn: Conn,
    counted: Counted,
    habit: Habit,
    now: u64,
}

impl Play {
    fn open(habit: Habit) -> Self {
        let mut play =
            Self { conn: Conn::zeroed(), counted: Counted::default(), habit, now: 1_000 };
        play.conn.open(ISN, play.now);
        assert_eq!(play.send(Send::Syn), ISN);
        play
    }

    /// A connection on which a request was sent.
    fn waiting(habit: Habit) -> Self {
        let mut play = Self::open(habit);
        let step = play.receive(flags::SYN | flags::ACK, THEIR_ISN, play.conn.next, 0);
        assert_eq!(step.send, Send::Request);
        assert_eq!(play.send(Send::Request), ISN.wrapping_add(1));
        play
    }

    fn send(&mut self, send: Send) -> u32 {
        self.conn.sends(send, if send == Send::Request { REQUEST } else { 0 }, self.now)
    }

    fn receive(&mut self, flags: u8, seq: u32, ack: u32, len: u32) -> Step {
        self.take(flags, seq, ack, len, true)
    }

    fn take(&mut self, flags: u8, seq: u32, ack: u32, len: u32, matches: bool) -> Step {
        self.now += 1_000;
        let segment = segment(self.conn.port, flags, seq, ack, len);
        let payload = if self.conn.takes(&segment) {
            Payload { matches, reply_len: REPLY }
        } else {
            Payload::NONE
        };
        assert!(self.conn.is_mine(&segment));
        self.conn.receive(&segment, payload, self.habit, self.now, &mut self.counted)
    }

    /// A piece of the reply, in order.
    fn reply(&mut self, len: u32) -> Step {
        self.receive(flags::ACK | flags::PSH, self.conn.expected, self.conn.next, len)
    }

    fn anomalies(&self) -> Vec<Count> {
        let all = self.counted.counts.iter().copied();
        all.filter(|count| count.kind() == crate::count::Kind::Anomaly).collect()
    }
}

fn segment(port: u16, flags: u8, seq: u32, ack: u32, len: u32) -> Segment {
    let tuple = Tuple {
        client: Address::v4(1),
        server: Address::v4(2),
        client_port: 80u16.to_be(),
        server_port: port.to_be(),
    };
    Segment {
        tuple,
        family: Family::V4,
        tag: 0,
        ip_at: 14,
        tcp_at: 34,
        options_len: 0,
        payload_len: len as usize,
        seq,
        ack,
        window: 0,
        flags,
    }
}

#[test]
fn one_connection_from_the_first_to_the_last_segment() {
    let mut play = Play::waiting(ONCE);
    assert_eq!(play.conn.expected, THEIR_ISN.wrapping_add(1));
    assert_eq!(play.reply(REPLY).send, Send::Fin);
    assert_eq!(play.send(Send::Fin), ISN.wrapping_add(1 + REQUEST));
    let end =
        play.receive(flags::FIN | flags::ACK, play.conn.expected, ISN.wrapping_add(2 + REQUEST), 0);
    assert_eq!(end, Step { send: Send::Ack, turn: Turn::NextArrival });
    assert_eq!(play.send(Send::Ack), ISN.wrapping_add(2 + REQUEST));
    assert_eq!(play.conn.expected, THEIR_ISN.wrapping_add(2 + REPLY));
    assert_eq!(play.anomalies(), []);
    // From the arrival, two segments ago.
    assert_eq!(play.counted.latencies, [2_000]);
    assert_eq!(play.counted.counts.iter().filter(|count| **count == Count::Closed).count(), 1);
    let port = play.conn.port;
    play.conn.open(7, 0);
    assert_eq!(play.conn.port, port + 1);
}

#[test]
fn a_reply_in_pieces_and_the_next_request_on_the_same_connection() {
    let mut play = Play::waiting(Habit { per_connection: 2, ..ONCE });
    assert_eq!(play.reply(100).send, Send::Ack);
    assert_eq!(play.reply(199).send, Send::Ack);
    assert_eq!(play.reply(1).send, Send::Request);
    assert_eq!(play.send(Send::Request), ISN.wrapping_add(1 + REQUEST));
    assert_eq!(play.reply(REPLY).send, Send::Fin);
    assert_eq!(play.anomalies(), []);
}

#[test]
fn a_paced_client_waits_for_its_arrival_and_acknowledges_in_time() {
    let habit = Habit { per_connection: 9, paced: true, ..ONCE };
    let mut play = Play::waiting(habit);
    assert_eq!(play.reply(REPLY), Step { send: Send::Nothing, turn: Turn::NextArrival });
    assert_eq!(play.conn.begins_with(), Send::Request);
    let soon = play.conn.sent_ns + DELAYED_ACK_NS;
    assert_eq!(play.conn.overdue(habit, soon, &mut play.counted).send, Send::Nothing);
    assert_eq!(play.conn.overdue(habit, soon + 1, &mut play.counted).send, Send::Ack);
    play.send(Send::Ack);
    assert_eq!(play.conn.overdue(habit, u64::MAX, &mut play.counted).send, Send::Nothing);
    let last = Habit { per_connection: 0, ..habit };
    assert_eq!(play.conn.overdue(last, soon, &mut play.counted).send, Send::Fin);
}

#[test]
fn wrong_replies_are_seen() {
    let expected = THEIR_ISN.wrapping_add(1);
    let (acked, unacked) = (ISN.wrapping_add(1 + REQUEST), ISN.wrapping_add(1));
    let data = flags::ACK | flags::PSH;
    for (flags, seq, ack, len, matches, anomaly, send) in [
        (data, expected, acked, REPLY, false, Count::WrongBytes, Send::Reset),
        (data, expected, acked, REPLY + 1, true, Count::WrongLength, Send::Reset),
        (data, expected, unacked, REPLY, true, Count::WrongAck, Send::Reset),
        (data, expected, acked.wrapping_add(1), REPLY, true, Count::WrongAck, Send::Reset),
        (data, expected.wrapping_add(1), acked, REPLY, true, Count::Gap, Send::Ack),
        (flags::FIN | flags::ACK, expected, acked, 0, true, Count::CutShort, Send::Reset),
        (flags::RST | flags::ACK, expected, acked, 0, true, Count::Reset, Send::Nothing),
        (0, expected, acked, REPLY, true, Count::Unexpected, Send::Reset),
    ] {
        let mut play = Play::waiting(ONCE);
        let step = play.take(flags, seq, ack, len, matches);
        assert_eq!((play.anomalies(), step.send), (std::vec![anomaly], send));
        let over = anomaly != Count::Gap;
        assert_eq!(step.turn == Turn::NextArrival, over, "{anomaly:?}");
        assert_eq!(play.counted.latencies, []);
    }
}

#[test]
fn data_that_nobody_asked_for_is_seen() {
    let mut play = Play::waiting(Habit { paced: true, per_connection: 2, ..ONCE });
    play.reply(REPLY);
    assert_eq!(play.reply(1).send, Send::Reset);
    assert_eq!(play.anomalies(), [Count::WrongLength]);
}

#[test]
fn what_comes_twice_is_acknowledged_again() {
    let mut play = Play::waiting(ONCE);
    let first = play.conn.expected;
    play.reply(100);
    let again = play.receive(flags::ACK, first, play.conn.next, 100);
    assert_eq!(again.send, Send::Ack);
    assert_eq!(play.reply(200).send, Send::Fin);
    assert_eq!(play.anomalies(), []);
}

#[test]
fn a_server_that_closes_first_gets_its_end() {
    let mut play = Play::waiting(Habit { per_connection: 9, ..ONCE });
    let (seq, ack) = (play.conn.expected, play.conn.next);
    assert_eq!(play.receive(flags::ACK | flags::FIN, seq, ack, REPLY).send, Send::Fin);
    play.send(Send::Fin);
    let last = play.receive(flags::ACK, play.conn.expected, play.conn.next, 0);
    assert_eq!(last, Step { send: Send::Nothing, turn: Turn::NextArrival });
    assert_eq!(play.conn.state, state::IDLE);
    assert_eq!(play.anomalies(), []);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_and_given_up_at_last() {
    let mut play = Play::waiting(ONCE);
    let seq = ISN.wrapping_add(1);
    let mut waits = Vec::new();
    for _ in 0..AGAIN_MAX {
        let wait = (0..100).find(|n| {
            let at = play.conn.sent_ns + n * AGAIN_NS;
            play.conn.overdue(ONCE, at, &mut play.counted).send == Send::Request
        });
        waits.push(wait.expect("it is sent again"));
        play.now = play.conn.sent_ns + waits[waits.len() - 1] * AGAIN_NS;
        assert_eq!(play.send(Send::Request), seq);
    }
    assert_eq!(waits, [1, 2, 4, 8]);
    let given_up = play.conn.overdue(ONCE, u64::MAX, &mut play.counted);
    assert_eq!(given_up, Step { send: Send::Reset, turn: Turn::NextArrival });
    assert_eq!(play.anomalies(), [Count::TimedOut]);
}

#[test]
fn the_end_of_a_connection_that_is_over_is_acknowledged() {
    let mut counted = Counted::default();
    let fin = segment(2000, flags::FIN | flags::ACK, 5, 6, 0);
    assert_eq!(Conn::stale(&fin, &mut counted).send, Send::TimeWait);
    let other = segment(2000, flags::RST, 5, 6, 0);
    assert_eq!(Conn::stale(&other, &mut counted).send, Send::Nothing);
    assert!(!Conn::zeroed().is_mine(&fin));
}

#[test]
fn ports_come_again_after_the_last() {
    let mut conn = Conn::zeroed();
    conn.open(0, 0);
    assert_eq!(conn.port, FIRST_PORT);
    conn.port = u16::MAX;
    conn.open(0, 0);
    assert_eq!(conn.port, FIRST_PORT);
}
