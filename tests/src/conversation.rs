//! What clients of several tests say on a connection, with preflights between their requests.

use crate::{
    client::Http,
    packet::Segment,
    policy,
    raw_tcp::{RawTcp, offer},
};

/// Requests with six preflights between them, on a connection to a [`crate::server::Recording`].
pub fn hold(http: &mut Http) {
    let [first, put, get] = told();
    assert_eq!(http.ask(&first).body, b"recorded");
    for preflights in [1, 2] {
        answered(http, preflights);
        assert_eq!(http.ask(&put).body, b"recorded");
        answered(http, preflights);
        assert_eq!(http.ask(&get).body, b"recorded");
    }
}

/// The requests that reach the server then, byte for byte.
pub fn held() -> [Vec<u8>; 5] {
    let [first, put, get] = told();
    [first, put.clone(), get.clone(), put, get]
}

fn told() -> [Vec<u8>; 3] {
    let body = policy::preflight("/v1/item").repeat(12);
    [policy::get("/v1/first"), policy::put("/v1/item", &body), policy::get("/v1/item")]
}

/// So many preflights in a row, and each is answered.
pub fn answered(http: &mut Http, preflights: usize) {
    for _ in 0..preflights {
        assert!(http.ask(&policy::preflight("/v1/large")).is_cors());
    }
}

/// Requests with bodies out of preflights, which end anywhere in one.
pub fn puts() -> Vec<Vec<u8>> {
    let preflight = policy::preflight("/v1/item");
    [0, 1, 100, 1400, 5000, 200_000]
        .map(|len| policy::put("/v1/item", &preflight.repeat(len / preflight.len() + 1)[..len]))
        .into()
}

/// A request, and a preflight whose answer the client never sees. It sends it again, and returns the
/// answer that it gets then, which is the same.
pub fn lose_an_answer(tcp: &mut RawTcp) -> Segment {
    tcp.handshake(offer::USUAL);
    tcp.data(&policy::get("/v1/first"));
    tcp.expect_until(b"recorded");
    tcp.ack();
    let sent = tcp.data(&policy::preflight("/v1/item"));
    let answer = tcp.expect("the answer");
    tcp.send(&sent);
    let again = tcp.expect("the answer again");
    assert_eq!((again.seq, &again.payload), (answer.seq, &answer.payload));
    again
}

/// The next request, when the answer has come.
pub fn go_on(tcp: &mut RawTcp, again: &Segment) {
    tcp.accept(again);
    tcp.data(&policy::get("/v1/second"));
    tcp.expect_until(b"recorded");
    tcp.ack();
}
