//! The servers: one has the page, the others are APIs on other origins. They answer every request as
//! its case says, and keep what they were asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use cors_tests::{
    netns::Netns,
    web::{self, Request},
};
use serde_json::Value;

use crate::cases::{Case, Leg};

/// The origin of the page.
pub(crate) const PAGE: &str = "http://127.0.0.1:8001";
/// Where scripts send their requests: another origin, and another site.
pub(crate) const API: &str = "http://localhost:8002";
/// One more origin.
pub(crate) const OTHER: &str = "http://localhost:8003";
const PORTS: [u16; 3] = [8001, 8002, 8003];

/// Runs each case where it belongs, a few at a time, and reports which headers were seen.
pub(crate) const SCRIPT: &str = r"
async function run(list) {
  const results = {};
  const upload = (url, method, headers, credentials) => new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of headers) request.setRequestHeader(name, value);
    request.withCredentials = credentials == 'include';
    request.upload.onprogress = () => {};
    request.onerror = failed;
    request.onload = () => done(request.getAllResponseHeaders());
    request.send(new Uint8Array([1]));
  });
  const one = async ([number, { url, method, headers, credentials, listens }]) => {
    try {
      if (listens) {
        const lines = (await upload(url, method, headers, credentials)).trim();
        results[number] = lines ? lines.split('\r\n').map(line => line.split(':')[0]) : [];
        return;
      }
      const response = await fetch(url, { method, headers, credentials });
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
    /// Preflights, for each case and leg.
    pub(crate) preflights: BTreeMap<(usize, usize), Request>,
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
            let (seen, cases) = (Arc::clone(&seen), Arc::clone(&cases));
            web::serve(host, (Ipv4Addr::LOCALHOST, port).into(), move |request| {
                match leg(&request.path) {
                    Some(at) => api(at, &cases[at.0].legs[at.1], request, &seen),
                    None => page(request, &cases, &seen),
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

/// The case and the leg that a path is of.
fn leg(path: &str) -> Option<(usize, usize)> {
    let (number, leg) = path.strip_prefix('/')?.split_once('/')?;
    Some((number.parse().ok()?, leg.parse().ok()?))
}

fn api(at: (usize, usize), leg: &Leg, request: &Request, seen: &Mutex<Seen>) -> Vec<u8> {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if request.is_preflight() {
        seen.preflights.insert(at, request.clone());
        leg.preflight.text()
    } else {
        seen.requests.insert(at);
        leg.response.text()
    }
}

fn page(request: &Request, cases: &[Case], seen: &Mutex<Seen>) -> Vec<u8> {
    if request.path == "/results" {
        let results: Value = serde_json::from_slice(&request.body).expect("results");
        let names = |value: &Value| -> Option<Vec<String>> {
            let name = |name: &Value| name.as_str().unwrap_or_default().to_owned();
            value.as_array().map(|names| names.iter().map(name).collect())
        };
        let all = (0..cases.len()).map(|number| names(&results[number.to_string()]));
        seen.lock().unwrap_or_else(PoisonError::into_inner).results = all.collect();
    }
    let content = if request.path == "/" { document(cases) } else { String::new() };
    web::response(200, &[("Content-Type", "text/html")], &content)
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
