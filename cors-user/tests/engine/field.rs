//! Preflights as browsers and proxies send them.

use crate::support::{DATE, Dice, Engine, Request};

const POLICY: &str = r#"
[[policy]]
name = "api"
match = { hosts = ["api.example.com"], path_prefix = "/v1" }
allow_origins = ["https://app.example.com"]
allow_methods = ["PUT", "PATCH"]
allow_headers = ["authorization", "content-type"]
allow_credentials = true
max_age = 600
"#;

fn answer(close: bool) -> String {
    let close = if close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 204 No Content\r\nDate: {DATE}\r\n\
         Access-Control-Allow-Credentials: true\r\n\
         Access-Control-Allow-Methods: PUT, PATCH\r\n\
         Access-Control-Allow-Headers: authorization, content-type\r\n\
         Access-Control-Max-Age: 600\r\n\
         Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n\
         Access-Control-Allow-Origin: https://app.example.com\r\n{close}\r\n"
    )
}

const CHROMIUM: &[&str] = &[
    "Host: api.example.com",
    "Connection: keep-alive",
    "Accept: */*",
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: content-type",
    "Origin: https://app.example.com",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/156.0.0.0 Safari/537.36",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Dest: empty",
    "Referer: https://app.example.com/",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
];

const FIREFOX: &[&str] = &[
    "Host: api.example.com:8080",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
    "Accept: */*",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate",
    "Access-Control-Request-Method: PUT",
    "Access-Control-Request-Headers: authorization,content-type",
    "Referer: https://app.example.com/",
    "Origin: https://app.example.com",
    "Sec-Fetch-Storage-Access: none",
    "Connection: keep-alive",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: cross-site",
    "Priority: u=4",
];

const WEBKIT: &[&str] = &[
    "Origin: https://app.example.com",
    "Access-Control-Request-Method: PATCH",
    "Referer: https://app.example.com/page?q=1",
    "Access-Control-Request-Headers: content-type",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/26.0 Safari/605.1.15",
    "Accept: */*",
    "Accept-Encoding: gzip, deflate",
    "Accept-Language: en-US, en;q=0.90",
    "Connection: Keep-Alive",
    "Host: api.example.com",
];

const ENVOY: &[&str] = &[
    "x-forwarded-for: 10.0.0.2",
    "x-forwarded-proto: https",
    "x-envoy-external-address: 10.0.0.2",
    "x-request-id: 7b2e4f0a-7d3c-4c55-8f0e-3f9f4f1a2b3c",
    "x-envoy-expected-rq-timeout-ms: 15000",
    "content-length: 0",
];

/// What Firefox sends over h2, and HAProxy and Caddy pass on.
const PROXIED: &[&str] = &[
    "te: trailers",
    "Via: 2.0 Caddy",
    "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678",
    "X-Forwarded-Host: api.example.com",
    "X-Forwarded-Port: 443",
];

fn heads() -> Vec<Request> {
    let mut heads = Vec::new();
    for browser in [CHROMIUM, FIREFOX, WEBKIT] {
        for proxy in [&[][..], ENVOY, PROXIED] {
            for target in ["/v1/json-post", "/v1", "/v1/orders/1?expand=a%20b,c&x=//../?"] {
                let headers = browser.iter().chain(proxy).map(|line| (*line).to_owned()).collect();
                heads.push(Request { headers, ..Request::to(target) });
            }
        }
    }
    heads
}

#[test]
fn every_head_of_the_field_is_answered() {
    let engine = Engine::new(POLICY);
    for head in heads() {
        assert!((220..=1024).contains(&head.bytes().len()));
        let reply = engine.ask(&head.bytes()).unwrap();
        assert_eq!(String::from_utf8(reply).unwrap(), answer(false), "{head:?}");
    }
}

#[test]
fn the_order_of_headers_says_nothing() {
    let engine = Engine::new(POLICY);
    let mut dice = Dice(1);
    for mut head in heads() {
        for turn in 0..60 {
            match turn {
                0 => head.headers.reverse(),
                1 => head.headers.sort_by_key(|line| line.to_ascii_lowercase()),
                _ if turn < 20 => head.headers.rotate_left(1),
                _ => dice.shuffle(&mut head.headers),
            }
            let reply = engine.ask(&head.bytes());
            assert_eq!(reply, Ok(answer(false).into_bytes()), "{head:?}");
        }
    }
}

#[test]
fn names_are_case_insensitive_and_values_are_not_touched() {
    let engine = Engine::new(POLICY);
    let mut dice = Dice(2);
    for head in heads() {
        for turn in 0..20 {
            let mut cased = head.clone();
            for line in &mut cased.headers {
                let colon = line.find(':').unwrap();
                let name = &mut line[..colon];
                match turn {
                    0 => name.make_ascii_lowercase(),
                    1 => name.make_ascii_uppercase(),
                    _ => {
                        let random = name.chars().map(|c| match dice.below(2) {
                            0 => c.to_ascii_lowercase(),
                            _ => c.to_ascii_uppercase(),
                        });
                        *line = random.collect::<String>() + &line[colon..];
                    }
                }
            }
            let reply = engine.ask(&cased.bytes());
            assert_eq!(reply, Ok(answer(false).into_bytes()), "{cased:?}");
        }
    }
}

#[test]
fn a_connection_to_close_is_said_to_close() {
    let engine = Engine::new(POLICY);
    for head in heads() {
        for value in ["close", "Close", "CLOSE"] {
            let reply = engine.ask(&head.clone().with("Connection", value).bytes());
            assert_eq!(reply, Ok(answer(true).into_bytes()));
        }
    }
}
