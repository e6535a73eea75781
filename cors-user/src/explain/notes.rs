//! What else there is to know: what is easily overlooked, in a sentence each.

use cors_oracle::{
    ALLOW_ORIGIN, AddressSpace, Origin, Request, Response, enters_local_network, normalize_method,
};

use super::{
    explanation::{Explanation, Verdict},
    question::Question,
    reading::{self, Facts, Reading},
};
use crate::config::model::{Config, OriginPattern, Origins, Server};

/// A path that is not looked up.
pub(super) const AMBIGUOUS: &str = "The path can be read in two ways (a dot segment, an empty one, `;`, an escaped ASCII \
     character), so the driver looks up no policy for it: whoever listens on the socket answers.";
/// The driver does not answer on such sockets.
pub(super) const BEHIND_A_HEADER: &str = "With `proxy_protocol = true` connections begin with a PROXY header, and the agent answers \
     everything on them.";
/// A preflight that is allowed and not answered in the driver, with another program behind it.
pub(super) const SERVER_ANSWERS: &str = "The policy allows it, but the driver does not answer it, so the server behind does. Paste its \
     answer with --preflight-response to have it judged.";
/// A preflight that is not allowed, with another program behind the driver.
pub(super) const SERVER_DECIDES: &str = "What the policy does not allow is passed on to the server behind, which may know nothing of \
     CORS: it is judged here as if it said nothing.";
/// A request that is allowed, with another program behind the driver.
pub(super) const SERVER_MUST_SAY: &str =
    "The server behind must put these lines on its response: cors-edge answers preflights only.";

/// About the question as it was asked.
pub(super) fn add(question: &Question, request: &Request, explanation: &mut Explanation) {
    let origin = request.origin().serialize();
    let mut notes = Vec::new();
    if question.origin != origin {
        notes.push(format!("The page's origin is `{origin}`."));
    }
    for name in &explanation.request.ignored {
        notes.push(format!("Browsers ignore `{name}`: it is not for scripts to set."));
    }
    let method = request.method();
    let upper = method.to_ascii_uppercase();
    if method != upper && normalize_method(&upper) == upper {
        notes.push(format!("`{method}` is not `{upper}`: methods differ by case."));
    }
    if explanation.verdict != Verdict::Blocked
        && let Some(space) = enters_local_network(request)
    {
        let what = match space {
            AddressSpace::Loopback => "this machine itself",
            _ => "the local network",
        };
        notes.push(format!(
            "It goes from the web into {what}: Chromium asks the user for permission first, \
             whatever the server says."
        ));
    }
    // The first ones concern the question, and come before what was found out.
    notes.append(&mut explanation.notes);
    explanation.notes = notes;
}

/// About a response that was given: what works today, and not behind a cache.
pub(super) fn of_response(request: &Request, response: &Response) -> Option<String> {
    let allowed = response.headers.get(ALLOW_ORIGIN)?;
    let vary = response.headers.get("vary").unwrap_or_default().to_ascii_lowercase();
    let mut names = vary.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let varies = names.any(|name| name == b"origin" || name == b"*");
    (allowed == request.serialized_origin().as_bytes() && !varies).then(|| {
        "The response is for one origin and has no `Vary: Origin`: a cache may give it to a page \
         of another one, where it is blocked."
            .to_owned()
    })
}

/// About the way to the protected socket.
pub(super) fn add_of_server(request: &Request, server: &Server, explanation: &mut Explanation) {
    if explanation.preflight.is_none() {
        return;
    }
    let url = request.url();
    if url.scheme() == "https" {
        explanation.notes.push(
            "The driver reads plaintext HTTP/1.1: it is looked at as if whatever ends TLS in front \
             of it passed the preflight on unchanged."
                .to_owned(),
        );
    } else if let Some(port) = url.port_or_known_default()
        && !server.listen.iter().any(|socket| socket.port() == port)
    {
        let note = format!("No socket of `server.listen` has port {port}.");
        explanation.notes.push(note);
    }
}

/// About a host and a path that no policy is for.
pub(super) fn add_of_scope(facts: &Facts, config: &Config, explanation: &mut Explanation) {
    let Facts { host, path, .. } = facts;
    let of_host: Vec<&str> = config
        .policies
        .iter()
        .filter(|policy| policy.hosts.contains(host) || policy.hosts.is_empty())
        .filter_map(|policy| policy.path_prefix.as_deref())
        .collect();
    let more = if of_host.is_empty() {
        format!("no policy has the host `{host}`")
    } else {
        format!("those for this host have the prefixes {}", of_host.join(", "))
    };
    explanation
        .notes
        .push(format!("No policy is for `{host}{path}`, so cors-edge leaves it alone: {more}."));
}

/// About an origin that is not allowed and nearly is.
pub(super) fn add_of_origin(
    facts: &Facts,
    reading: Option<&Reading<'_>>,
    explanation: &mut Explanation,
) {
    let Some(reading) = reading.filter(|reading| reading.origin.is_none()) else { return };
    if facts.origin == "null" {
        explanation.notes.push(
            "`null` is what sandboxed frames and local files send, and no policy can allow it: \
             serve the page from an origin of its own."
                .to_owned(),
        );
        return;
    }
    let Origins::List(patterns) = &reading.policy.origins else { return };
    let near = patterns.iter().filter_map(|pattern| {
        let (distance, why) = nearly(pattern, &facts.origin)?;
        Some((distance, format!("The policy has `{}`: {why}.", reading::text(pattern))))
    });
    explanation.notes.extend(near.min_by_key(|(distance, _)| *distance).map(|(_, note)| note));
}

/// The distance of names that may be a slip of the pen; what is nearer has a reason.
const SLIP: usize = 2;

/// In which way an origin misses a pattern, and by how much.
fn nearly(pattern: &OriginPattern, origin: &str) -> Option<(usize, String)> {
    const PORT: &str = "another port is another origin, and `:*` stands for any";
    let Origin::Tuple { scheme, host, port } = Origin::of_page(origin)? else { return None };
    let another_scheme = format!("the page is of {scheme}, and another scheme is another origin");
    let why = match pattern {
        OriginPattern::Exact(_) | OriginPattern::AnyPort(_) => {
            let text = reading::text(pattern);
            let listed = Origin::of_page(text.trim_end_matches(":*"))?;
            let Origin::Tuple { scheme: s, host: h, port: p } = listed else { return None };
            if host == h && scheme != s {
                another_scheme
            } else if host == h && port != p {
                PORT.to_owned()
            } else if host == format!("www.{h}") || h == format!("www.{host}") {
                "with `www.` and without are two origins".to_owned()
            } else if host.ends_with(&format!(".{h}")) {
                format!("it does not stand for names below it, `{s}://*.{h}` does")
            } else {
                let distance = strsim::levenshtein(&host, &h);
                let why = "the names differ by a letter or two".to_owned();
                return (distance <= SLIP).then_some((distance, why));
            }
        }
        OriginPattern::Subdomains { scheme: s, suffix, .. } => {
            if host == *suffix {
                format!("it stands for names below `{suffix}`, not for `{suffix}` itself")
            } else if host.ends_with(&format!(".{suffix}")) {
                let same_scheme = reading::scheme_text(*s).trim_end_matches("://") == scheme;
                if same_scheme { PORT.to_owned() } else { another_scheme }
            } else if host.ends_with(&**suffix) {
                "it stands for whole labels in front of the dot".to_owned()
            } else {
                return None;
            }
        }
    };
    Some((0, why))
}
