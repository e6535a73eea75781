//! The proxy before a real browser: a page on an origin that the policy allows, with a frame of one
//! that it does not, makes every kind of request that CORS is about. What each got of it the pages
//! themselves say; and the counters say who answered the preflights.
//!
//! Over plain HTTP and, by TLS, over HTTP/2.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use cors_tests::{
    Family,
    agent::{Agent, Setup},
    chromium::Chromium,
    counter, eventually, for_each_family,
    scratch::Scratch,
    topology::{Pair, server_at, sockets},
    web::{self, Request},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;

use crate::{font::font, site::PAGE};

/// The origin of the frame.
const FRAME: &str = "http://127.0.0.1:8004";
const HOST: &str = "api.example.com";
const BEHIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What comes of each kind of request: in the page, and in the frame.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("get", "200", "TypeError"),
    ("get_include", "200", "TypeError"),
    ("get_omit", "200", "TypeError"),
    ("put_json", "200", "TypeError"),
    ("custom", "200", "TypeError"),
    ("method", "TypeError", "TypeError"),
    ("lower_case", "TypeError", "TypeError"),
    ("header", "TypeError", "TypeError"),
    ("exposed", "7 null", "TypeError"),
    ("canvas", "clean", "error"),
    ("canvas_include", "clean", "error"),
    // Shown to anybody, read by nobody.
    ("canvas_tainted", "SecurityError", "SecurityError"),
    ("font", "loaded", "NetworkError"),
    ("module", "a module", "TypeError"),
    ("upload", "200 1000", "error"),
    ("kept_alive", "200 200 200", "TypeError"),
];

/// Those of the page that have a preflight which allows them.
const ALLOWED_PREFLIGHTS: u64 = 6;
/// Those that have one, and are not sent: of the page, and of the frame, which gives up `kept_alive`
/// with the first part.
const DENIED: [&str; 2] = ["method lower_case header", "put_json custom upload kept_alive_a"];

fn policy(more: &str) -> String {
    let listen: Vec<String> = sockets().iter().map(|at| format!("{:?}", at.to_string())).collect();
    format!(
        "[server]\nlisten = [{}]\nupstream = \"http://{BEHIND}\"\n{more}\n\
         [[policy]]\nname = \"api\"\nmatch = {{ hosts = [{HOST:?}], path_prefix = \"/v1/\" }}\n\
         allow_origins = [{PAGE:?}]\nallow_methods = [\"PUT\", \"PATCH\"]\n\
         allow_headers = [\"authorization\", \"content-type\", \"x-requested-with\"]\n\
         expose_headers = [\"x-request-id\"]\nallow_credentials = true\n",
        listen.join(", ")
    )
}

/// The server behind: it knows what each path is, and all that it says of CORS is wrong.
fn api(request: &Request) -> Vec<u8> {
    let kind = request.path.split('/').nth(2).unwrap_or_default();
    let (content_type, content) = match kind {
        "font" => ("font/ttf", font()),
        "module" => ("text/javascript", b"export default 'a module';".to_vec()),
        kind if kind.starts_with("canvas") => (
            "image/svg+xml",
            b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9' \
              height='9'/></svg>"
                .to_vec(),
        ),
        _ => ("text/plain", b"content".to_vec()),
    };
    let headers = [
        ("Content-Type", content_type),
        ("Access-Control-Allow-Origin", "https://evil.example"),
        ("Access-Control-Expose-Headers", "x-secret"),
        ("X-Request-Id", "7"),
        ("X-Secret", "8"),
    ];
    web::response(200, &headers, content)
}

/// A page that does everything, and tells whoever it is to tell.
fn document(api: &str, who: &str, then: &str) -> String {
    let kinds = include_str!("kinds.js");
    format!("<!doctype html><script>const API = {api:?}, WHO = {who:?};\n{kinds}\n{then}</script>")
}

/// What happened in the browser and behind the proxy.
struct Seen {
    page: Value,
    frame: Value,
    /// Requests that the server got.
    arrived: Vec<Request>,
}

/// Shows the page in a browser; its results are there at the end.
fn browse(pair: &Pair, api_origin: &'static str, arguments: &[&str]) -> Seen {
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&arrived);
    web::serve(&pair.server, BEHIND, move |request| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        api(request)
    });
    let results = Arc::new(Mutex::new(None));
    let reported = Arc::clone(&results);
    web::serve(&pair.client, (Ipv4Addr::LOCALHOST, 8001).into(), move |request| {
        if request.path == "/results" {
            let told: Value = serde_json::from_slice(&request.body).expect("results");
            *reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
        // One after the other: no two of them share a connection by chance.
        let then = format!(
            "const framed = new Promise((done) => (onmessage = (event) => done(event.data)));\n\
             addEventListener('load', async () => {{\n\
               const page = await every();\n\
               const frame = document.createElement('iframe');\n\
               frame.src = '{FRAME}/';\n\
               document.body.append(frame);\n\
               const body = JSON.stringify([page, await framed]);\n\
               await fetch('/results', {{ method: 'POST', body }});\n\
             }});"
        );
        let shown = document(api_origin, "page", &then);
        let content = if request.path == "/" { &*shown } else { "" };
        web::response(200, &[("Content-Type", "text/html")], content)
    });
    web::serve(&pair.client, (Ipv4Addr::LOCALHOST, 8004).into(), move |request| {
        let then = "every().then((results) => parent.postMessage(results, '*'));";
        let shown = document(api_origin, "frame", then);
        let content = if request.path == "/" { &*shown } else { "" };
        web::response(200, &[("Content-Type", "text/html")], content)
    });
    let browser = Chromium::open(&pair.client, &format!("{PAGE}/"), arguments);
    let mut told = eventually("the pages have their results", || {
        results.lock().unwrap_or_else(PoisonError::into_inner).clone()
    });
    drop(browser);
    let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Seen { page: told[0].take(), frame: told[1].take(), arrived }
}

impl Seen {
    /// Every verdict, and that nothing came through which was not to.
    fn check(&self) {
        let came = |who: &str, kind: &str| {
            self.arrived.iter().any(|request| request.path == format!("/v1/{kind}/{who}"))
        };
        for (kind, page, frame) in EXPECTED {
            assert_eq!(self.page[kind], *page, "{kind} in the page: {}", self.page);
            assert_eq!(self.frame[kind], *frame, "{kind} in the frame: {}", self.frame);
        }
        for kind in DENIED[0].split(' ') {
            assert!(!came("page", kind) && !came("frame", kind), "{kind} was sent");
        }
        for kind in DENIED[1].split(' ') {
            assert!(!came("frame", kind), "{kind} was sent");
            assert!(came("page", kind), "{kind} was not sent");
        }
        // What needs no preflight is sent by anybody; it is the response that nobody sees.
        assert!(came("frame", "get") && came("frame", "canvas"));
        assert!(self.arrived.iter().all(|request| request.method != "OPTIONS"));
        let put = self.arrived.iter().find(|request| request.path == "/v1/put_json/page");
        let put = put.expect("the PUT");
        assert_eq!((&*put.method, &put.body[..]), ("PUT", &b"{}"[..]));
    }

    /// The protocols that the proxy was spoken to in, as it tells the server behind.
    fn versions(&self) -> Vec<&str> {
        let mut versions: Vec<&str> =
            self.arrived.iter().filter_map(|request| request.header("via")).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }
}

/// Allowed preflights that the slow path answered.
fn by_slow_path(agent: &Agent) -> u64 {
    let counters = &agent.status()["proxy"]["counters"];
    ["answered", "answered_close"].iter().filter_map(|name| counters[name].as_u64()).sum()
}

for_each_family! {
    fn a_page_gets_from_the_proxy_what_the_policy_allows(family) {
        let pair = Pair::new();
        let agent = Agent::start(&pair.server, Pair::INTERFACE, policy(""));
        let rules = format!("--host-resolver-rules=MAP {HOST}:80 {}", server_at(family));
        let mut seen = None;
        let counted = agent.counted(|| {
            seen = Some(browse(&pair, "http://api.example.com", &[&rules]));
        });
        let seen = seen.expect("results");
        seen.check();
        assert_eq!(seen.versions(), ["1.1 cors-edge"]);
        // What comes first on a connection is the driver's, and so is what follows on one that was
        // handed over, wherever it can tell requests apart.
        let [first, later] = [counter::ANSWERED, counter::TRACKED_ANSWERED].map(|n| counted.get(n));
        assert_eq!(first + later + by_slow_path(&agent), ALLOWED_PREFLIGHTS);
        assert!(first > 0 && later > 0, "{:?}", counted.nonzero());
    }
}

#[test]
fn a_page_gets_the_same_by_tls_and_http2() {
    let pair = Pair::new();
    let at = SocketAddr::new(server_at(Family::V4).ip(), 443);
    let files = Scratch::new("certificate");
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([HOST.to_owned()]).expect("make a certificate");
    let chain = files.write("chain.pem", cert.pem());
    let key = files.write("key.pem", signing_key.serialize_pem());
    let tls = format!(
        "[server.tls]\nlisten = [\"{at}\"]\ncertificates = [{{ chain = {chain:?}, key = {key:?} }}]"
    );
    let agent = Setup::new(&pair.server, policy(&tls)).interface(Pair::INTERFACE).start();
    let rules = format!("--host-resolver-rules=MAP {HOST}:443 {at}");
    // Of this browser's servers only the one has a certificate.
    let arguments = [&*rules, "--ignore-certificate-errors"];
    let mut seen = None;
    let counted = agent.counted(|| {
        seen = Some(browse(&pair, "https://api.example.com", &arguments));
    });
    let seen = seen.expect("results");
    seen.check();
    assert_eq!(seen.versions(), ["2.0 cors-edge"]);
    assert_eq!((counted.all_answered(), by_slow_path(&agent)), (0, ALLOWED_PREFLIGHTS));
}
