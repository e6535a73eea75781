//! Proxy mode, driver and slow path together: whichever answers a preflight, the bytes are the
//! same, and everything else reaches the server behind, whichever it is.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use cors_tests::{
    Family,
    agent::{Agent, Setup, edge},
    client::{Http, Response},
    counter, eventually, for_each_family,
    netns::Netns,
    policy,
    process::Process,
    scratch::Scratch,
    server::Server,
    topology::{Pair, server_at, sockets},
    web,
};

fn behind() -> SocketAddr {
    "127.0.0.1:8080".parse().expect("an address")
}

/// The policy of the tests, with a server behind.
fn file() -> String {
    let upstream = format!("[server]\nupstream = \"http://{}\"", behind());
    policy::file(&sockets()).replacen("[server]", &upstream, 1)
}

fn start(pair: &Pair) -> Agent {
    Setup::new(&pair.server, file()).interface(Pair::INTERFACE).start()
}

/// How often the slow path has counted something.
fn slow(agent: &Agent, name: &str) -> u64 {
    agent.status()["proxy"]["counters"][name].as_u64().unwrap_or(0)
}

fn ask(host: &Netns, at: SocketAddr, request: &[u8]) -> Response {
    Http::connect(host, at).ask(request)
}

/// Everything but the date.
fn said(response: &Response) -> (u16, Vec<(String, String)>) {
    let headers = response.headers.iter().filter(|(name, _)| name != "date");
    (response.status, headers.cloned().collect())
}

for_each_family! {
    /// Where connections begin with a PROXY header, there is no answer without one, and none of the
    /// driver's.
    fn behind_a_proxy_header_every_answer_is_the_proxys(family) {
        let pair = Pair::new();
        let _server = Server::python(&pair.server, behind()).ready(&pair.server, behind());
        let file = file().replacen("[server]", "[server]\nproxy_protocol = true", 1);
        let agent = Setup::new(&pair.server, file).interface(Pair::INTERFACE).start();
        let at = server_at(family);
        let preflight = policy::preflight("/v1/item");
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            http.send(&preflight);
            assert!(http.try_response().is_err(), "an answer without a header");
            let mut http = Http::connect(&pair.client, at);
            http.send(b"PROXY TCP4 10.9.8.7 10.0.0.1 4000 80\r\n");
            for _ in 0..3 {
                assert!(http.ask(&preflight).is_cors());
                assert_eq!(http.ask(&policy::get("/v1/hello")).body, b"hello\n");
            }
        });
        assert_eq!(slow(&agent, "answered"), 3);
        for answered in [counter::ANSWERED, counter::TRACKED_ANSWERED, counter::SYN_ACK] {
            assert_eq!(counted.get(answered), 0, "{answered}");
        }
        agent.stop();
    }

    /// From the server's own host a connection does not meet the driver.
    fn both_give_the_same_answer(family) {
        let pair = Pair::new();
        let _server = Server::python(&pair.server, behind()).ready(&pair.server, behind());
        let agent = start(&pair);
        let at = server_at(family);
        for origin in [policy::ORIGIN, "https://a.b.example.org"] {
            for path in ["/v1/item", "/v1", "/v1/a/b?c=d"] {
                for close in [false, true] {
                    let mut request =
                        String::from_utf8(policy::preflight_from(origin, path)).expect("text");
                    if close {
                        request = request.replace("Connection: keep-alive", "Connection: close");
                    }
                    let before = slow(&agent, "answered") + slow(&agent, "answered_close");
                    let mut driver = None;
                    let counted = agent.counted(|| {
                        driver = Some(ask(&pair.client, at, request.as_bytes()));
                    });
                    assert_eq!(counted.all_answered(), 1, "{request}\n{:?}", counted.nonzero());
                    let response = ask(&pair.server, at, request.as_bytes());
                    let after = slow(&agent, "answered") + slow(&agent, "answered_close");
                    assert_eq!(after, before + 1, "{request}");
                    assert_eq!(said(&driver.expect("an answer")), said(&response), "{request}");
                }
            }
        }
    }

    /// What the driver passes the slow path answers, on the same connection, and the rest goes on.
    fn one_connection_through_both(family) {
        let pair = Pair::new();
        let server = Server::python(&pair.server, behind()).ready(&pair.server, behind());
        server.put_file("item", b"content");
        let agent = start(&pair);
        let mut http = Http::connect(&pair.client, server_at(family));
        let counted = agent.counted(|| {
            assert_eq!(http.ask(&policy::preflight("/v1/item")).status, 204);
            let spaced = String::from_utf8(policy::preflight("/v1/item")).expect("text");
            let spaced = spaced.replace("authorization,content-type", "Content-Type, authorization");
            let response = http.ask(spaced.as_bytes());
            assert_eq!((response.status, response.is_cors()), (204, true));
            let evil = policy::preflight_from(policy::FOREIGN_ORIGIN, "/v1/item");
            let response = http.ask(&evil);
            assert_eq!((response.status, response.is_cors()), (403, false));
            let response = http.ask(&policy::get("/v1/item"));
            assert_eq!((response.status, &response.body[..]), (200, &b"content"[..]));
        });
        assert_eq!((counted.get(counter::ANSWERED), counted.get(counter::HANDED_OVER)), (1, 1));
        assert_eq!((slow(&agent, "answered"), slow(&agent, "origin_denied")), (1, 1));
        server.expect_logged("OPTIONS", 0);
        assert!(agent.said(&[]).contains("\nproxy\n"), "{}", agent.said(&[]));
        agent.stop();
    }
}

#[test]
fn in_front_of_servers_as_they_are() {
    let at = server_at(Family::V4);
    for (name, server) in [
        ("nginx", (|host: &Netns| Server::nginx(host, &[behind()])) as fn(&Netns) -> Server),
        ("apache", |host| Server::apache(host, &[behind()])),
        ("python", |host| Server::python(host, behind())),
        ("node", |host| Server::node(host, behind())),
        ("express", |host| Server::express(host, behind())),
        ("php", |host| Server::php(host, behind())),
        ("caddy", |host| Server::caddy(host, behind())),
    ] {
        let pair = Pair::new();
        let _server = server(&pair.server).ready(&pair.server, behind());
        let _agent = start(&pair);
        // On one connection, whether or not the server keeps its own.
        let mut http = Http::connect(&pair.client, at);
        for (path, status) in [("/v1/hello", 200), ("/v1/nothing", 404)] {
            for (origin, allowed) in [(policy::ORIGIN, true), (policy::FOREIGN_ORIGIN, false)] {
                let headers = [("Host", policy::HOST), ("Origin", origin)];
                let line = format!("GET {path} HTTP/1.1");
                let response = http.ask(&policy::head(&line, &headers));
                assert_eq!(response.status, status, "{name}: {response:?}");
                if status == 200 {
                    assert_eq!(response.body, b"hello\n", "{name}");
                }
                let expected = allowed.then_some(origin);
                assert_eq!(response.header("access-control-allow-origin"), expected, "{name}");
                let vary = response.header("vary").unwrap_or_default().to_lowercase();
                assert!(vary.contains("origin"), "{name}: {vary}");
            }
        }
        assert_eq!(ask(&pair.client, at, &policy::preflight("/v1/hello")).status, 204, "{name}");
    }
}

/// What the slow path does is in the metrics, by the reasons that the driver has, and traced.
#[test]
fn what_is_told_of_the_slow_path() {
    let pair = Pair::new();
    let server = Server::python(&pair.server, behind()).ready(&pair.server, behind());
    server.put_file("item", b"content");
    let nobody = "http://127.0.0.1:9".to_owned();
    let both = format!("upstream = [\"http://{}\", \"{nobody}\"]", behind());
    let one = format!("upstream = \"http://{}\"", behind());
    let agent = Setup::new(&pair.server, file().replacen(&one, &both, 1))
        .interface(Pair::INTERFACE)
        .start();
    let (trace, scratch) = trace(&pair, &agent);
    let at = server_at(Family::V4);
    // From the server's own host nothing meets the driver.
    let asked = |request: &[u8]| ask(&pair.server, at, request).status;
    assert_eq!(asked(&policy::preflight("/v1/item?secret")), 204);
    assert_eq!(asked(&policy::preflight_from(policy::FOREIGN_ORIGIN, "/v1/item")), 403);
    for _ in 0..4 {
        assert_eq!(asked(&policy::get("/v1/item")), 200);
    }
    let told = eventually("it is traced", || {
        let text = scratch.read("out");
        (text.lines().count() >= 2 && text.ends_with('\n')).then_some(text)
    });
    let told: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (told, reason) in told.iter().zip(["answered", "origin_denied"]) {
        assert_eq!((&told["tier"], &told["reason"]), (&"proxy".into(), &reason.into()), "{told}");
        assert_eq!(told["policy"], "api");
    }
    assert_eq!(told[0]["request"]["path"], "/v1/item?…");
    drop(trace);

    let metrics = "127.0.0.1:9410".parse().expect("an address");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let text = ask(&pair.server, metrics, request).body;
    let text = String::from_utf8(text).expect("text");
    let upstream = format!("upstream=\"http://{}\"", behind());
    for line in [
        "cors_edge_proxy_decisions_total{reason=\"answered\"} 1".to_owned(),
        "cors_edge_proxy_decisions_total{reason=\"origin_denied\"} 1".to_owned(),
        "cors_edge_proxy_events_total{event=\"request\"} 6".to_owned(),
        "cors_edge_proxy_request_duration_seconds_count{outcome=\"answered\"} 1".to_owned(),
        "cors_edge_proxy_request_duration_seconds_count{outcome=\"denied\"} 1".to_owned(),
        "cors_edge_proxy_request_duration_seconds_count{outcome=\"forwarded\"} 4".to_owned(),
        "cors_edge_proxy_request_duration_seconds_bucket{le=\"+Inf\",outcome=\"forwarded\"} 4"
            .to_owned(),
        "cors_edge_proxy_requests_in_flight 0".to_owned(),
        format!("cors_edge_upstream_up{{{upstream}}} 1"),
        format!("cors_edge_upstream_up{{upstream=\"{nobody}\"}} 0"),
        format!("cors_edge_upstream_requests_total{{{upstream},result=\"answered\"}} 4"),
        format!("cors_edge_upstream_first_byte_seconds_count{{{upstream}}} 4"),
        "cors_edge_policy_preflights_total{policy=\"api\",tier=\"proxy\",reason=\"answered\"} 1"
            .to_owned(),
        "cors_edge_policy_preflights_total{policy=\"api\",tier=\"driver\",reason=\"answered\"} 0"
            .to_owned(),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in\n{text}");
    }
    let unreachable = format!("upstream=\"{nobody}\",result=\"unreachable\"");
    assert!(!text.contains(&format!("{{{unreachable}}} 0\n")), "{text}");
    assert!(!text.contains("example"), "{text}");
    let said = agent.said(&[]);
    assert!(said.contains(&format!("  {nobody}     DOWN  unreachable ")), "{said}");
    agent.stop();
}

/// `cors-edge trace`, once it is told of what happens, and where its output is.
fn trace(pair: &Pair, agent: &Agent) -> (Process, Scratch) {
    let scratch = Scratch::new("trace");
    let mut command = edge();
    command.args(["trace", "--json", "--runtime-dir"]).arg(agent.runtime_dir());
    command.stdout(File::create(scratch.path("out")).expect("a file"));
    command.stderr(File::create(scratch.path("err")).expect("a file"));
    let process = pair.server.spawn(command);
    eventually("it traces", || scratch.read("err").contains("tracing").then_some(()));
    (process, scratch)
}

/// A host of its own with a name for a server, which can come to mean another address.
struct Named {
    host: Netns,
    files: Scratch,
}

impl Named {
    fn new() -> Self {
        let named = Self { host: Netns::new("named"), files: Scratch::new("hosts") };
        named.means(&[]);
        let hosts = named.files.path("hosts").display().to_string();
        named.host.run("mount", &["--bind", &hosts, "/etc/hosts"]);
        for address in [FIRST, SECOND] {
            let said = address.ip().to_string();
            web::serve(&named.host, address, move |_| web::response(200, &[], &said));
        }
        named
    }

    /// In the same file, as that is what is mounted.
    fn means(&self, addresses: &[SocketAddr]) {
        let line = |address: &SocketAddr| format!("{} backend.test\n", address.ip());
        self.files.write("hosts", addresses.iter().map(line).collect::<String>());
    }

    /// Which address is asked now; none: there is nobody.
    fn asked(&self) -> Option<String> {
        let response = ask(&self.host, PROXY, &policy::get("/v1/hello"));
        let body = String::from_utf8(response.body).expect("text");
        assert_eq!(response.status, if body.is_empty() { 502 } else { 200 });
        // Also where there is nobody, the page may read that.
        assert_eq!(response.headers.iter().filter(|(name, _)| name == ALLOW_ORIGIN).count(), 1);
        (!body.is_empty()).then_some(body)
    }
}

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
const FIRST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 8080);
const SECOND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)), 8080);
/// Nobody listens there.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4)), 8080);

#[test]
fn an_upstream_is_where_its_name_leads_now() {
    let named = Named::new();
    named.means(&[FIRST]);
    let file = policy::file(&[PROXY]);
    let file = file.replacen("[server]", "[server]\nupstream = \"http://backend.test:8080\"", 1);
    let _agent = Setup::new(&named.host, file).interface("lo").start();
    let (first, second) = (Some(FIRST.ip().to_string()), Some(SECOND.ip().to_string()));
    assert_eq!(named.asked(), first);
    named.means(&[SECOND]);
    assert_eq!(named.asked(), second);
    // Every address of a name is tried.
    for addresses in [[NOBODY, FIRST], [FIRST, NOBODY]] {
        named.means(&addresses);
        for _ in 0..5 {
            assert_eq!(named.asked(), first);
        }
    }
    named.means(&[NOBODY]);
    assert_eq!(named.asked(), None);
    // The only upstream is tried also while it rests.
    named.means(&[SECOND]);
    assert_eq!(named.asked(), second);
}
