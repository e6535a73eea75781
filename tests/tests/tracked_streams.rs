//! What is on a connection beside requests and whole responses: streams of other protocols, bodies
//! that are announced, promised or never come, interim and early responses, and the ends of both
//! sides. The server gets every byte that it is owed, and a preflight is answered exactly where
//! one may stand.

use std::net::TcpListener;

use cors_tests::{
    Family,
    agent::Agent,
    counter,
    ends::{Ends, listen},
    for_each_family, policy,
    topology::{Pair, server_at},
};

/// A response with a body of this length, as far as its head goes.
fn head(status: &str, len: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nServer: x\r\nContent-Length: {len}\r\n\r\n").into_bytes()
}

fn response(body: &[u8]) -> Vec<u8> {
    [&head("200 OK", body.len()), body].concat()
}

fn request(line: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![("Host", policy::HOST)];
    all.extend(headers);
    policy::head(line, &all)
}

/// The connection of a client that was handed over, and on which a preflight was answered since:
/// the two sides count differently.
fn shifted(pair: &Pair, listener: &TcpListener) -> Ends {
    let mut ends = Ends::begin(&pair.client, listener, &policy::get("/v1/first"));
    ends.down(&response(b"first"));
    ends.answered(&preflight());
    ends
}

fn preflight() -> Vec<u8> {
    policy::preflight("/v1/item")
}

/// What two ends say to each other that speak no HTTP, and might.
fn talk(ends: &mut Ends) {
    for number in 0..5 {
        ends.up(&preflight());
        ends.down(&response(format!("{number}").as_bytes()));
        ends.up(&policy::get("/v1/item"));
        ends.down(b"\x81\x05hello");
        ends.down(&preflight());
    }
    ends.client_finishes();
    ends.server_finishes();
}

/// Plays dialogues, each on a connection of its own: how many preflights were answered beside the
/// first of each.
fn play(family: Family, dialogues: &[fn(&mut Ends)]) -> u64 {
    let pair = Pair::new();
    let listener = listen(&pair.server, server_at(family));
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let counted = agent.counted(|| {
        for dialogue in dialogues {
            dialogue(&mut shifted(&pair, &listener));
        }
    });
    agent.stop();
    counted.get(counter::TRACKED_ANSWERED) - dialogues.len() as u64
}

for_each_family! {
    /// Behind 101 and behind a tunnel's 200 both sides say what they like.
    fn streams_of_other_protocols_are_never_answered_in(family) {
        let answered = play(family, &[
            |ends| {
                ends.up(&request("GET /v1/socket HTTP/1.1", &[
                    ("Connection", "Upgrade"),
                    ("Upgrade", "websocket"),
                    ("Sec-WebSocket-Version", "13"),
                    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ]));
                let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
                ends.down(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n").as_bytes());
                talk(ends);
            },
            |ends| {
                ends.up(&request("CONNECT other.example:443 HTTP/1.1", &[]));
                ends.down(b"HTTP/1.1 200 OK\r\n\r\n");
                talk(ends);
            },
        ]);
        assert_eq!(answered, 0);
    }

    /// A body that waits for its permission, one in chunks, one in another coding, and one that is
    /// longer than was announced: nobody can tell where the next request starts.
    fn bodies_without_a_plain_end_are_the_end_of_answers(family) {
        let answered = play(family, &[
            |ends| {
                let body = preflight();
                let len = body.len().to_string();
                let headers = [("Content-Length", &len[..]), ("Expect", "100-continue")];
                ends.up(&request("PUT /v1/item HTTP/1.1", &headers));
                ends.down(b"HTTP/1.1 100 Continue\r\n\r\n");
                ends.up(&body);
                ends.down(&response(b"stored"));
                ends.up(&preflight());
                ends.down(&response(b"the server's"));
            },
            |ends| {
                ends.up(&request("POST /v1/item HTTP/1.1", &[("Transfer-Encoding", "chunked")]));
                let body = preflight();
                ends.up(format!("{:x}\r\n", body.len()).as_bytes());
                ends.up(&body);
                ends.up(b"\r\n0\r\n\r\n");
                ends.down(&response(b"stored"));
                ends.up(&preflight());
                ends.down(&response(b"the server's"));
            },
            |ends| {
                // Its last bytes are a request to the server, and to nobody else.
                let put = request("PUT /v1/item HTTP/1.1", &[("Content-Length", "10")]);
                ends.up(&[&put[..], b"0123456789abcdef"].concat());
                ends.up(&preflight());
                ends.down(&response(b"stored"));
                ends.up(&preflight());
                ends.down(&response(b"the server's"));
            },
        ]);
        assert_eq!(answered, 0);
    }

    /// A body may be less than was announced for a long time; whatever comes meanwhile is part of it.
    fn an_announced_body_is_waited_for(family) {
        let answered = play(family, &[
            |ends| {
                let body = preflight().repeat(3);
                let len = body.len().to_string();
                ends.up(&request("PUT /v1/item HTTP/1.1", &[("Content-Length", &len)]));
                for part in body.chunks(body.len() / 3) {
                    ends.up(part);
                }
                ends.down(&response(b"stored"));
                ends.answered(&preflight());
            },
            // The server is done before the client is.
            |ends| {
                let body = preflight().repeat(3);
                let len = body.len().to_string();
                ends.up(&request("PUT /v1/item HTTP/1.1", &[("Content-Length", &len)]));
                ends.down(&response(b"no"));
                for part in body.chunks(body.len() / 3) {
                    ends.up(part);
                }
                ends.answered(&preflight());
            },
        ]);
        assert_eq!(answered, 2);
    }

    /// Interim responses, responses in pieces, and such as have no body whatever their head says.
    fn a_response_is_over_where_its_framing_says(family) {
        let answered = play(family, &[
            |ends| {
                ends.up(&policy::get("/v1/item"));
                ends.down(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
                ends.down(b"HTTP/1.1 102 Processing\r\n\r\n");
                ends.down(&response(b"late"));
                ends.answered(&preflight());
            },
            |ends| {
                ends.up(&policy::get("/v1/item"));
                ends.down(&head("200 OK", 300));
                for piece in 0..30 {
                    ends.down(format!("piece{piece:5}").as_bytes());
                }
                ends.answered(&preflight());
            },
            |ends| {
                ends.up(&policy::get("/v1/item"));
                ends.down(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n");
                ends.down(b"hello\r\n1");
                ends.down(b"0\r\n0123456789abcdef\r\n0\r\n");
                ends.down(b"\r\n");
                ends.answered(&preflight());
            },
            |ends| {
                ends.up(&request("HEAD /v1/item HTTP/1.1", &[]));
                ends.down(&head("200 OK", 1000));
                ends.answered(&preflight());
            },
            |ends| {
                ends.up(&policy::get("/v1/item"));
                ends.down(&head("304 Not Modified", 1000));
                ends.answered(&preflight());
                ends.up(&policy::put("/v1/item", b"x"));
                ends.down(b"HTTP/1.1 204 No Content\r\n\r\n");
                ends.answered(&preflight());
            },
        ]);
        assert_eq!(answered, 6);
    }

    /// While a response is on its way, a preflight is the server's; so it is behind one whose end
    /// cannot be told: that of the connection, or chunks with extensions.
    fn a_pending_response_is_waited_for(family) {
        let answered = play(family, &[
            |ends| {
                ends.up(&policy::get("/v1/item"));
                ends.down(&head("200 OK", 10));
                ends.down(b"01234");
                ends.up(&preflight());
                ends.down(b"56789");
                ends.down(&response(b"the server's"));
            },
            |ends| {
                ends.up(&policy::get("/v1/item"));
                ends.down(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nto the end");
                ends.up(&preflight());
                ends.server_finishes();
                ends.client_finishes();
            },
            |ends| {
                ends.up(&policy::get("/v1/item"));
                ends.down(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n");
                ends.up(&preflight());
                ends.down(&response(b"the server's"));
            },
        ]);
        assert_eq!(answered, 0);
    }

    /// Either side may say that it is done, at any point, and hear the other out.
    fn half_a_connection_goes_on(family) {
        let answered = play(family, &[
            |ends| {
                ends.up(&policy::get("/v1/item"));
                ends.client_finishes();
                ends.down(&response(&b"x".repeat(20_000)));
                ends.server_finishes();
            },
            |ends| {
                ends.client_finishes();
                ends.down(&response(b"nobody has asked"));
                ends.server_finishes();
            },
            |ends| {
                ends.answered(&preflight());
                ends.server_finishes();
                ends.up(&preflight());
                ends.client_finishes();
            },
        ]);
        assert_eq!(answered, 1);
    }
}
