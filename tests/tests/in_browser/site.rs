//! The servers: one has the page, the others are APIs on other origins. They answer every request as
//! its case says, and keep what they were asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use cors_tests::{PATIENCE, netns::Netns};
use serde_json::Value;

use crate::cases::{Case, Leg};

/// The origin of the page.
pub(crate) const PAGE: &str = "http://127.0.0.1:8001";
/// Where scripts send their requests: another origin, and another site.
pub(crate) const API: &str = "http://localhost:8002";
/// One more origin.
pub(crate) const OTHER: &str = "http://localhost:8003";
const PAGE_PORT: u16 = 8001;
const PORTS: [u16; 3] = [PAGE_PORT, 8002, 8003];

/// Runs each case where it belongs, a few at a time, and reports which headers were seen.
const SCRIPT: &str = r"
async function run(list) {
  const results = {};
  const one = async ([number, { url, method, headers, credentials }]) => {
    try {
      const options = { method, headers, credentials };
      const response = await fetch(url, options);
      results[number] = [...response.headers.keys()];
    } catch {
      results[number] = null;
    }
  };
  const queue = [...list];
  const worker = async () => { while (queue.length) await one(queue.shift()); };
  await Promise.all([worker(), worker(), worker(), worker()]);
  return results;
}
";

/// What was seen of all cases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Heads of preflights, for each case and leg.
    pub(crate) preflights: BTreeMap<(usize, usize), String>,
    /// Cases and legs whose request arrived.
    pub(crate) requests: BTreeSet<(usize, usize)>,
    /// For each case the names of headers that the script saw, or nothing where it got an error.
    pub(crate) results: Vec<Option<Vec<String>>>,
}

/// The servers.
pub(crate) struct Site {
    seen: Arc<Mutex<Seen>>,
}

impl Site {
    /// Serves on a host; for as long as the process lives.
    pub(crate) fn serve(host: &Netns, cases: &[Case]) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let cases: Arc<[Case]> = cases.into();
        for port in PORTS {
            let listener = host
                .enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
                .expect("listen on loopback");
            let (seen, cases) = (Arc::clone(&seen), Arc::clone(&cases));
            thread::spawn(move || {
                for stream in listener.incoming().filter_map(Result::ok) {
                    let (seen, cases) = (Arc::clone(&seen), Arc::clone(&cases));
                    // A connection that the browser opened in advance may never be used.
                    thread::spawn(move || drop(serve(stream, port, &cases, &seen)));
                }
            });
        }
        Self { seen }
    }

    /// What was seen, once all of it was.
    pub(crate) fn finished(&self) -> Option<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (!seen.results.is_empty()).then(|| seen.clone())
    }
}

/// The value of a header in a head.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(header, value)| header.eq_ignore_ascii_case(name).then_some(value))
}

fn serve(stream: TcpStream, port: u16, cases: &[Case], seen: &Mutex<Seen>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let length = value(&head, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut line = head.split(' ');
    let (method, path) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
    let answer = match leg(path) {
        Some((number, leg)) => api((number, leg), &cases[number].legs[leg], method, &head, seen),
        None if port == PAGE_PORT => page(path, &body, cases, seen),
        None => page("", &body, cases, seen),
    };
    reader.into_inner().write_all(answer.as_bytes())
}

/// The case and the leg that a path is of.
fn leg(path: &str) -> Option<(usize, usize)> {
    let (number, leg) = path.strip_prefix('/')?.split_once('/')?;
    Some((number.parse().ok()?, leg.parse().ok()?))
}

fn api(at: (usize, usize), leg: &Leg, method: &str, head: &str, seen: &Mutex<Seen>) -> String {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let is_preflight =
        method == "OPTIONS" && value(head, "access-control-request-method").is_some();
    let answer = if is_preflight {
        seen.preflights.insert(at, head.to_owned());
        &leg.preflight
    } else {
        seen.requests.insert(at);
        &leg.response
    };
    let mut text = format!("HTTP/1.1 {} Case\r\n", answer.status);
    for (name, value) in answer.lines() {
        text.extend([&*name, ": ", &*value, "\r\n"]);
    }
    text + "\r\n"
}

fn page(path: &str, body: &[u8], cases: &[Case], seen: &Mutex<Seen>) -> String {
    let (kind, content) = match path {
        "/" => ("text/html", document(cases)),
        "/results" => {
            let results: Value = serde_json::from_slice(body).expect("results");
            let names = |value: &Value| -> Option<Vec<String>> {
                let name = |name: &Value| name.as_str().unwrap_or_default().to_owned();
                value.as_array().map(|names| names.iter().map(name).collect())
            };
            let all = (0..cases.len()).map(|number| names(&results[number.to_string()]));
            seen.lock().unwrap_or_else(PoisonError::into_inner).results = all.collect();
            ("text/plain", String::new())
        }
        _ => ("text/plain", String::new()),
    };
    let length = content.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{content}"
    )
}

/// The page with its cases, and a sandboxed frame for those that are nobody's.
fn document(cases: &[Case]) -> String {
    let list = |sandboxed: bool| {
        let list: Vec<Value> = cases
            .iter()
            .enumerate()
            .map(|(number, case)| (number, case.document(number)))
            .filter(|(_, case)| case["sandboxed"] == sandboxed)
            .map(|(number, case)| Value::from(vec![Value::from(number), case]))
            .collect();
        Value::from(list).to_string()
    };
    let frame = format!(
        "<script>{SCRIPT} run({}).then(results => parent.postMessage(results, '*'));</script>",
        list(true)
    );
    let frame = frame.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!doctype html><script>{SCRIPT}\n\
         const framed = new Promise(done => onmessage = event => done(event.data));\n\
         Promise.all([run({}), framed]).then(([own, nobodys]) => fetch('/results', {{\n\
           method: 'POST', body: JSON.stringify({{ ...own, ...nobodys }}) }}));\n\
         </script><iframe sandbox=\"allow-scripts\" srcdoc=\"{frame}\"></iframe>",
        list(false)
    )
}
