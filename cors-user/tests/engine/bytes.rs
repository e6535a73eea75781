//! A head is exactly its bytes: none less, none more, and none that does not belong.

use cors_common::exit::Exit;

use crate::{
    plain,
    support::{DATE, Engine, Request},
};

fn engine() -> Engine {
    Engine::policy(
        "match = { hosts = [\"api.example.com\"], path_prefix = \"/v1\" }\n\
         allow_origins = [\"https://app.example.com\", \"https://*.example.org:*\"]\n\
         allow_methods = [\"PUT\"]\nallow_headers = [\"content-type\", \"x-a\"]",
    )
}

fn requests() -> [Request; 3] {
    [
        Request::new(),
        Request::new()
            .asks("content-type,x-a")
            .add("Connection: keep-alive")
            .add("Content-Length: 0"),
        Request::to("/v1?a=b")
            .origin("https://www.example.org:8443")
            .asks("x-a")
            .add("connection: close")
            .add("te: trailers")
            .add("Accept: */*"),
    ]
}

#[test]
fn no_part_of_a_head_is_answered() {
    let engine = engine();
    for request in requests() {
        let head = request.bytes();
        assert!(engine.ask(&head).is_ok());
        for len in 0..head.len() {
            let exit = engine.ask(&head[..len]).unwrap_err();
            // What an earlier packet left in the buffer is the rest of the very same head.
            assert_eq!(engine.ask_over(&head, &head[..len]), Err(exit), "{len}");
            if len >= 9 && head[len - 1] != b'\r' {
                let known = [Exit::HeadIncomplete, Exit::HttpVersion];
                assert!(known.contains(&exit), "{len}: {exit:?}");
            }
        }
    }
}

#[test]
fn no_byte_may_follow_a_head() {
    let engine = engine();
    for request in requests() {
        let head = request.bytes();
        for byte in 0..=u8::MAX {
            let longer = [&head[..], &[byte]].concat();
            assert_eq!(engine.ask(&longer), Err(Exit::HeadTrailing), "{byte:#x}");
        }
        for more in [&b"\r\n"[..], b"\r\n\r\n", b"{\"a\":1}", &head] {
            let longer = [&head[..], more].concat();
            assert_eq!(engine.ask(&longer), Err(Exit::HeadTrailing));
        }
    }
}

#[test]
fn no_control_and_no_high_byte_anywhere() {
    let engine = engine();
    let bad = |byte: &u8| !(0x20..=0x7e).contains(byte);
    for request in requests() {
        let head = request.bytes();
        for at in 0..head.len() {
            for byte in (0..=u8::MAX).filter(bad) {
                let mut other = head.clone();
                other[at] = byte;
                let same = other == head;
                assert_eq!(engine.ask_over(b"", &other).is_ok(), same, "{byte:#x} at {at}");
                let longer = [&head[..at], &[byte], &head[at..]].concat();
                assert!(engine.ask_over(b"", &longer).is_err(), "{byte:#x} before {at}");
            }
        }
    }
}

#[test]
fn every_byte_in_every_place_as_plain_code_says() {
    let engine = engine();
    for request in requests() {
        let head = request.bytes();
        for at in 0..head.len() {
            let removed = [&head[..at], &head[at + 1..]].concat();
            compare(&engine, &removed);
            for byte in 0..=u8::MAX {
                let mut other = head.clone();
                other[at] = byte;
                compare(&engine, &other);
                let inserted = [&head[..at], &[byte], &head[at..]].concat();
                compare(&engine, &inserted);
            }
        }
    }
}

fn compare(engine: &Engine, payload: &[u8]) {
    let answer = engine.ask_over(b"", payload).ok();
    let expected = plain::answer(&engine.config, payload, DATE).map(String::into_bytes);
    assert_eq!(answer, expected, "{}", payload.escape_ascii());
}
