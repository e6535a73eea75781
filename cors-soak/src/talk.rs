//! What one client wants to say on one connection, and what has become of it: the record that the
//! client, the server and the driver are all held to.

use cors_common::wire::segment::Tuple;

use crate::{
    request::{Kind, Request},
    response::Response,
    rng::Rng,
};

/// A request and its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The number in the request's target.
    pub id: u64,
    /// What the client sends.
    pub request: Request,
    /// What the server says to it, should it get there.
    pub response: Response,
    /// The client has begun to write the request.
    pub is_sent: bool,
    /// A byte of it came to the server.
    pub is_seen: bool,
    /// The driver answered it.
    pub is_answered: bool,
}

/// A conversation.
#[derive(Clone, Debug)]
pub struct Talk {
    /// The connection.
    pub tuple: Tuple,
    /// In the order in which the client asks.
    pub exchanges: Vec<Exchange>,
    /// How many responses the client has.
    pub completed: usize,
    /// Why the conversation may end before its end.
    pub cut: Option<&'static str>,
    /// The client has a connection, or is about to have one.
    pub is_open: bool,
    /// The client has seen a SYN-ACK: it is no forgery.
    pub is_validated: bool,
    /// The client has closed and knows that the server has (TIME-WAIT).
    pub is_waiting: bool,
    /// When the client was done.
    pub ended_at: Option<u64>,
}

impl Talk {
    /// The conversation with this number.
    pub fn new(number: u64, tuple: Tuple, rng: &mut Rng) -> Self {
        let mut talk = Self {
            tuple,
            exchanges: Vec::new(),
            completed: 0,
            cut: None,
            is_open: false,
            is_validated: false,
            is_waiting: false,
            ended_at: None,
        };
        // Preflights alone, requests of all kinds, or all but preflights.
        let style = rng.below(10);
        let len = match rng.below(20) {
            0 => 0,
            1..=9 => rng.range(1, 2),
            10..=18 => rng.range(3, 8),
            _ => rng.range(9, 30),
        };
        for index in 0..len {
            let kind = match style {
                0 | 1 => Kind::Preflight,
                2 => rng.pick(&[Kind::Get, Kind::Upload, Kind::Other]),
                _ => match rng.below(100) {
                    0..=44 => Kind::Preflight,
                    45..=52 => Kind::Other,
                    53..=76 => Kind::Get,
                    77..=97 => Kind::Upload,
                    _ => Kind::Upgrade,
                },
            };
            let closes = index + 1 == len && kind != Kind::Upgrade && rng.permille(250);
            let request = Request::new(kind, number << 8 | index, closes, rng);
            let upgrades = request.upgrades;
            talk.push(number, request, rng);
            if upgrades {
                let raw = Request::raw(rng);
                talk.push(number, raw, rng);
                break;
            }
        }
        talk
    }

    fn push(&mut self, number: u64, request: Request, rng: &mut Rng) {
        let id = number << 8 | self.exchanges.len() as u64;
        let response = Response::new(&request, id, rng);
        self.exchanges.push(Exchange {
            id,
            request,
            response,
            is_sent: false,
            is_seen: false,
            is_answered: false,
        });
    }

    /// From here on it may end before its end.
    pub fn cut(&mut self, why: &'static str) {
        self.cut = self.cut.or(Some(why));
    }
}
