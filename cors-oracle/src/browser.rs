//! What the browsers do each in their own way: the form of a preflight's head, and how long an
//! answer is remembered at most.

use crate::{Origin, Preflight, Request, origin::is_potentially_trustworthy, preflight_request};

/// A browser engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Browser {
    /// Chrome, Edge, and others.
    #[default]
    Chromium,
    /// Firefox.
    Firefox,
    /// Safari, and every browser on iOS.
    WebKit,
}

const CHROMIUM: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                        Chrome/156.0.0.0 Safari/537.36";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0";
const WEBKIT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/26.0 Safari/605.1.15";
const LANGUAGE: &str = "en-US,en;q=0.9";

impl Browser {
    /// Every engine.
    pub const ALL: [Self; 3] = [Self::Chromium, Self::Firefox, Self::WebKit];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chromium => "Chromium",
            Self::Firefox => "Firefox",
            Self::WebKit => "WebKit",
        }
    }

    /// "Imposed limit on max-age": for how many seconds an answer is remembered at most.
    pub const fn max_age_limit(self) -> u64 {
        match self {
            Self::Chromium => 7_200,
            Self::Firefox => 86_400,
            Self::WebKit => 600,
        }
    }

    /// Whether `*` in `Access-Control-Allow-Headers` covers `authorization` for this browser, which
    /// it does not by the standard. Chromium has warned about it for years, and version 148 still
    /// lets it pass; Firefox 140 and WebKitGTK 2.50 do not.
    pub const fn lets_wildcard_cover_authorization(self) -> bool {
        matches!(self, Self::Chromium)
    }

    /// The preflight of a request as this browser writes it on an HTTP/1.1 connection, with the
    /// header names, the order, and the other headers that it uses.
    pub fn head(self, request: &Request) -> Vec<u8> {
        let preflight = preflight_request(request);
        let mut text = format!("OPTIONS {} HTTP/1.1\r\n", preflight.target);
        for (name, value) in self.headers(request, &preflight) {
            text.extend([name, ": ", &value, "\r\n"]);
        }
        text += "\r\n";
        text.into_bytes()
    }

    fn headers(self, request: &Request, preflight: &Preflight) -> Vec<(&'static str, String)> {
        let host = ("Host", preflight.host.clone());
        let accept = ("Accept", "*/*".to_owned());
        let method = ("Access-Control-Request-Method", preflight.method.clone());
        let asked = preflight.headers.clone().map(|h| ("Access-Control-Request-Headers", h));
        let origin = ("Origin", preflight.origin.clone());
        let referer = referer(request).map(|url| ("Referer", url));
        let language = ("Accept-Language", LANGUAGE.to_owned());
        let secure = is_potentially_trustworthy(&Origin::of_url(request.url()));
        let codings = if secure { "gzip, deflate, br, zstd" } else { "gzip, deflate" };
        let encoding = ("Accept-Encoding", codings.to_owned());
        let fetch = |name, value: &str| secure.then(|| (name, value.to_owned()));
        let mode = fetch("Sec-Fetch-Mode", "cors");
        let site = fetch("Sec-Fetch-Site", site(request));
        let dest = fetch("Sec-Fetch-Dest", "empty");
        let storage = fetch("Sec-Fetch-Storage-Access", "none");
        let agent = |text: &str| Some(("User-Agent", text.to_owned()));
        let connection = |text: &str| Some(("Connection", text.to_owned()));
        let headers = match self {
            Self::Chromium => vec![
                Some(host),
                connection("keep-alive"),
                Some(accept),
                Some(method),
                asked,
                Some(origin),
                agent(CHROMIUM),
                mode,
                site,
                dest,
                referer,
                Some(encoding),
                Some(language),
            ],
            Self::Firefox => vec![
                Some(host),
                agent(FIREFOX),
                Some(accept),
                Some(language),
                Some(encoding),
                Some(method),
                asked,
                referer,
                Some(origin),
                storage,
                connection("keep-alive"),
                dest,
                mode,
                site,
                Some(("Priority", "u=4".to_owned())),
            ],
            Self::WebKit => vec![
                Some(origin),
                Some(method),
                referer,
                asked,
                agent(WEBKIT),
                Some(accept),
                Some(encoding),
                Some(language),
                connection("Keep-Alive"),
                Some(host),
                mode,
                dest,
                site,
            ],
        };
        headers.into_iter().flatten().collect()
    }
}

/// `Referer` by the default policy, `strict-origin-when-cross-origin` (Referrer Policy §3.7).
fn referer(request: &Request) -> Option<String> {
    let Origin::Tuple { scheme, .. } = request.origin() else { return None };
    let downgrade = scheme == "https" && request.url().scheme() != "https";
    (!downgrade && matches!(&**scheme, "http" | "https"))
        .then(|| request.origin().serialize() + "/")
}

/// `Sec-Fetch-Site` (Fetch Metadata §2.3).
fn site(request: &Request) -> &'static str {
    let target = Origin::of_url(request.url());
    if request.origin().is_same(&target) {
        "same-origin"
    } else if request.origin().is_same_site(&target) {
        "same-site"
    } else {
        "cross-site"
    }
}
