//! What is refused before any policy is asked, and under which name.

use cors_common::exit::Exit;

use crate::support::{Engine, Request};

fn engine() -> Engine {
    Engine::policy("allow_origins = [\"https://app.example.com\"]\nallow_methods = [\"PUT\"]")
}

/// The request with its first line replaced.
fn line(line: &str) -> Request {
    Request { line: line.to_owned(), ..Request::new() }
}

#[test]
fn request_lines() {
    let engine = engine();
    for text in ["OPTIONS / HTTP/1.1", "OPTIONS /? HTTP/1.1", "OPTIONS /a?b?c/d HTTP/1.1"] {
        assert!(engine.answers(&line(text)), "{text}");
    }
    for (text, exit) in [
        ("GET / HTTP/1.1", Exit::NotOptions),
        ("POST / HTTP/1.1", Exit::NotOptions),
        ("options / HTTP/1.1", Exit::NotOptions),
        ("OPTION / HTTP/1.1", Exit::NotOptions),
        ("OPTIONSX / HTTP/1.1", Exit::NotOptions),
        (" OPTIONS / HTTP/1.1", Exit::NotOptions),
        ("\r\nOPTIONS / HTTP/1.1", Exit::NotOptions),
        ("PRI * HTTP/2.0", Exit::NotOptions),
        ("PROXY TCP4 10.0.0.1 10.0.0.2 1 80\r\nOPTIONS / HTTP/1.1", Exit::NotOptions),
        ("OPTIONS * HTTP/1.1", Exit::Target),
        ("OPTIONS http://api.example.com/v1 HTTP/1.1", Exit::Target),
        ("OPTIONS api.example.com:80 HTTP/1.1", Exit::Target),
        ("OPTIONS  / HTTP/1.1", Exit::Target),
        ("OPTIONS\t/ HTTP/1.1", Exit::NotOptions),
        ("OPTIONS v1 HTTP/1.1", Exit::Target),
        ("OPTIONS ?a HTTP/1.1", Exit::Target),
        ("OPTIONS /a#b HTTP/1.1", Exit::Target),
        ("OPTIONS /a\"b HTTP/1.1", Exit::Target),
        ("OPTIONS /a<b HTTP/1.1", Exit::Target),
        ("OPTIONS /a>b HTTP/1.1", Exit::Target),
        ("OPTIONS /a\\b HTTP/1.1", Exit::Target),
        ("OPTIONS /a`b HTTP/1.1", Exit::Target),
        ("OPTIONS /{id} HTTP/1.1", Exit::Target),
        ("OPTIONS /a?{} HTTP/1.1", Exit::Target),
        ("OPTIONS /a\u{7f} HTTP/1.1", Exit::Target),
        ("OPTIONS /ä HTTP/1.1", Exit::Target),
        ("OPTIONS /a\tb HTTP/1.1", Exit::Target),
        ("OPTIONS / HTTP/1.0", Exit::HttpVersion),
        ("OPTIONS / HTTP/1.10", Exit::HttpVersion),
        ("OPTIONS / HTTP/2.0", Exit::HttpVersion),
        ("OPTIONS / HTTP/1.1 ", Exit::HttpVersion),
        ("OPTIONS /  HTTP/1.1", Exit::HttpVersion),
        ("OPTIONS / http/1.1", Exit::HttpVersion),
        ("OPTIONS / HTTP/1.1\r", Exit::HttpVersion),
        ("OPTIONS /a b HTTP/1.1", Exit::HttpVersion),
        ("OPTIONS /", Exit::Target),
    ] {
        assert_eq!(engine.refuses(&line(text)), Some(exit), "{text:?}");
    }
}

#[test]
fn headers_that_must_be_single() {
    let engine = engine();
    let all = Request::new()
        .asks("x")
        .add("Connection: keep-alive")
        .add("Content-Length: 0")
        .add("TE: trailers");
    let engine_with_header = Engine::policy(
        "allow_origins = [\"https://app.example.com\"]\nallow_methods = [\"PUT\"]\n\
         allow_headers = [\"x\"]",
    );
    assert!(engine_with_header.answers(&all));
    for doubled in &all.headers {
        for at in 0..=all.headers.len() {
            let name = doubled.split(':').next().unwrap();
            for line in [doubled.clone(), doubled.to_uppercase(), doubled.to_lowercase()] {
                // The value of the second one need not be the same.
                let mut request = all.clone();
                request.headers.insert(at, line);
                let exit = engine_with_header.refuses(&request);
                assert!(exit.is_some(), "{request:?}");
                if request.headers[at] == *doubled {
                    assert_eq!(exit, Some(Exit::Duplicate), "{name} at {at}");
                }
            }
        }
    }
    // Others may be there twice.
    assert!(engine.answers(&Request::new().add("Via: 1.1 a").add("Via: 1.1 b").add("via: 1.1 c")));
}

#[test]
fn headers_that_must_be_there() {
    let engine = engine();
    for (name, exit) in [
        ("Host", Exit::Host),
        ("Origin", Exit::NoOrigin),
        ("Access-Control-Request-Method", Exit::NoRequestMethod),
    ] {
        assert_eq!(engine.refuses(&Request::new().without(name)), Some(exit));
        let almost = Request::new().without(name).add(format!("{name}x: a"));
        assert_eq!(engine.refuses(&almost), Some(exit));
        let almost = Request::new().without(name).add(format!("X{name}: a"));
        assert_eq!(engine.refuses(&almost), Some(exit));
        let almost = Request::new().without(name).add(format!("{}: a", &name[1..]));
        assert_eq!(engine.refuses(&almost), Some(exit));
    }
    let bare = Request { headers: Vec::new(), ..Request::new() };
    assert_eq!(engine.refuses(&bare), Some(Exit::NoOrigin));
}

#[test]
fn headers_with_one_meaning() {
    let engine = engine();
    for line in [
        "Connection: keep-alive",
        "Connection: Keep-Alive",
        "connection:KEEP-ALIVE",
        "Connection: close",
        "CONNECTION:Close",
        "Content-Length: 0",
        "content-length:0",
        "TE: trailers",
        "te:Trailers",
        "Transfer-Encodin: chunked",
        "Upgrade-Insecure-Requests: 1",
        "Expects: 100-continue",
        "X-Empty:",
        "X-Empty: ",
        "X-Spaces:   a  ",
        "X: any: thing, at all; \"'(){}<>@,;:\\/[]?=~|^`!#$%&*+.",
        "0: digits are names too",
        "-: and hyphens",
    ] {
        assert!(engine.answers(&Request::new().add(line)), "{line}");
    }
    for (line, exit) in [
        ("Connection: upgrade", Exit::Connection),
        ("Connection: keep-alive, te", Exit::Connection),
        ("Connection: close, te", Exit::Connection),
        ("Connection: keep-alive,close", Exit::Connection),
        ("Connection: closed", Exit::Connection),
        ("Connection: clos", Exit::Connection),
        ("Connection: keep_alive", Exit::Connection),
        ("Connection:  close", Exit::Connection),
        ("Connection: close ", Exit::Connection),
        ("Connection: keep-alive ", Exit::Connection),
        ("Connection: ", Exit::Connection),
        ("Connection:", Exit::Connection),
        ("Content-Length: 1", Exit::ContentLength),
        ("Content-Length: 00", Exit::ContentLength),
        ("Content-Length: +0", Exit::ContentLength),
        ("Content-Length: -0", Exit::ContentLength),
        ("Content-Length: 0, 0", Exit::ContentLength),
        ("Content-Length:  0", Exit::ContentLength),
        ("Content-Length: 0 ", Exit::ContentLength),
        ("Content-Length: 0x0", Exit::ContentLength),
        ("Content-Length: ", Exit::ContentLength),
        ("Content-Length:", Exit::ContentLength),
        ("Transfer-Encoding: chunked", Exit::TransferEncoding),
        ("transfer-encoding: identity", Exit::TransferEncoding),
        ("Transfer-Encoding:", Exit::TransferEncoding),
        ("TE: gzip", Exit::Te),
        ("TE: trailers, gzip", Exit::Te),
        ("TE: trailer", Exit::Te),
        ("TE: ", Exit::Te),
        ("TE:", Exit::Te),
        ("Upgrade: h2c", Exit::Upgrade),
        ("uPGRADE:", Exit::Upgrade),
        ("Expect: 100-continue", Exit::Expect),
        ("EXPECT:", Exit::Expect),
    ] {
        for request in [Request::new().add(line), {
            let mut first = Request::new();
            first.headers.insert(0, line.to_owned());
            first
        }] {
            assert_eq!(engine.refuses(&request), Some(exit), "{line:?}");
        }
    }
}

#[test]
fn lines_that_are_no_headers() {
    let engine = engine();
    for (line, exit) in [
        ("X-Space : a", Exit::HeaderName),
        ("Host : api.example.com", Exit::HeaderName),
        ("X-Tab\t: a", Exit::HeaderByte),
        (" folded", Exit::HeaderName),
        ("\tfolded", Exit::HeaderByte),
        (" X-Name: a", Exit::HeaderName),
        (": a", Exit::HeaderName),
        (":", Exit::HeaderName),
        ("no colon", Exit::HeaderName),
        ("nocolon", Exit::HeaderName),
        ("X_Name: a", Exit::HeaderName),
        ("X.Name: a", Exit::HeaderName),
        ("X@Name: a", Exit::HeaderName),
        ("X[Name: a", Exit::HeaderName),
        ("X-Name; a", Exit::HeaderName),
        ("X: a\nY: b", Exit::HeaderByte),
        ("X: a\rY: b", Exit::HeaderByte),
        ("X: a\r", Exit::HeaderByte),
        ("X: a\n", Exit::HeaderByte),
        ("X: a\r\n folded", Exit::HeaderName),
        ("X: a\r\n\tfolded", Exit::HeaderByte),
        ("X: a\tb", Exit::HeaderByte),
        ("X: a\0b", Exit::HeaderByte),
        ("X: a\u{7f}b", Exit::HeaderByte),
        ("X: ä", Exit::HeaderByte),
        ("Ä: a", Exit::HeaderByte),
    ] {
        for at in 0..=3 {
            let mut request = Request::new();
            request.headers.insert(at, line.to_owned());
            assert_eq!(engine.refuses(&request), Some(exit), "{line:?} at {at}");
        }
    }
}

#[test]
fn names_have_a_limit() {
    let engine = engine();
    for len in 1..=63 {
        assert!(engine.answers(&Request::new().add(format!("{}: a", "x".repeat(len)))), "{len}");
    }
    for len in [64, 65, 72, 100, 500] {
        let request = Request::new().add(format!("{}: a", "x".repeat(len)));
        assert_eq!(engine.refuses(&request), Some(Exit::HeaderName), "{len}");
    }
}

#[test]
fn values_that_are_read_stand_alone() {
    let engine = engine();
    for (name, value) in [
        ("Host", "api.example.com"),
        ("Origin", "https://app.example.com"),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "x"),
    ] {
        let base = Request::new().without(name);
        if !name.ends_with("Headers") {
            assert!(engine.answers(&base.clone().add(format!("{name}:{value}"))), "{name}");
        }
        for line in [
            format!("{name}:"),
            format!("{name}: "),
            format!("{name}:  "),
            format!("{name}:  {value}"),
            format!("{name}: {value} "),
            format!("{name}:{value} "),
        ] {
            let exit = engine.refuses(&base.clone().add(line.as_str()));
            assert_eq!(exit, Some(Exit::HeaderValue), "{line:?}");
        }
    }
}

#[test]
fn sizes() {
    let engine = engine();
    for len in [200, 512, 1000, 1023, 1024] {
        let request = Request::new().padded(len);
        assert_eq!(request.bytes().len(), len);
        assert!(engine.answers(&request), "{len}");
    }
    for len in [1025, 1026, 1032, 1400, 2048, 2049, 2560, 2561, 9000] {
        assert_eq!(engine.refuses(&Request::new().padded(len)), Some(Exit::HeadTooLong), "{len}");
    }
    let long = |len: usize| {
        let rest = Request::to("").bytes().len();
        Request::to(&format!("/{}", "a".repeat(len - rest - 1)))
    };
    assert_eq!(long(1024).bytes().len(), 1024);
    assert!(engine.answers(&long(1024)));
    assert_eq!(engine.refuses(&long(1025)), Some(Exit::HeadTooLong));
}

#[test]
fn lines() {
    let engine = engine();
    for pad in ["X: a", "A:", "Cookie-Free: 12345"] {
        let of_lines = |lines: usize| {
            let mut request = Request::new();
            request.headers.splice(0..0, vec![pad.to_owned(); lines - 3]);
            request
        };
        for lines in 3..=40 {
            assert!(engine.answers(&of_lines(lines)), "{lines}");
        }
        for lines in [41, 42, 47] {
            assert_eq!(engine.refuses(&of_lines(lines)), Some(Exit::HeadTooLong), "{lines}");
        }
    }
    // Both limits at once.
    let mut both = Request::new();
    both.headers.splice(0..0, (0..36).map(|i| "x".repeat(i % 9 + 1) + ":"));
    let both = both.padded(1024);
    assert_eq!((both.headers.len(), both.bytes().len()), (40, 1024));
    assert!(engine.answers(&both));
}
