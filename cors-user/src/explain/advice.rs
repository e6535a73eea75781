//! What would change a verdict.
//!
//! For a policy file these are edits of its text, so that they can be shown, copied, and tried.

use cors_oracle::{Origin, Request, Step, is_safelisted_method};

use super::{
    explanation::{Change, Edit, Failed, Stage},
    places::{Places, PolicyPlaces, Value},
    reading::{AUTHORIZATION, Allowed, Reading},
};
use crate::config::model::{Methods, Origins};

/// The edits that make a policy allow a request; none where no edit does.
pub(super) fn changes(source: &str, reading: &Reading<'_>, request: &Request) -> Vec<Change> {
    let places = Places::of(source);
    let Some(places) = places.policy(reading.index) else { return Vec::new() };
    if *request.origin() == Origin::Opaque {
        // Whoever allows one such page allows all of them.
        return Vec::new();
    }
    let editor = Editor { source, places, index: reading.index };
    let policy = reading.policy;
    let needs_credentials = request.includes_credentials() && !policy.allow_credentials;
    // With credentials a `*` is an ordinary name.
    let star = |is_any: bool| needs_credentials && is_any;

    let mut changes = Vec::new();
    let origins = star(matches!(reading.origin, Some(Allowed::Any)));
    if reading.origin.is_none() || origins {
        let origin = vec![request.serialized_origin()];
        changes.extend(editor.list("allow_origins", &origin, origins && is_any(&policy.origins)));
    }
    let any_method = star(policy.methods == Methods::Any);
    let method = request.method();
    if let Some(upper) = in_upper_case(reading, method) {
        let text = format!("write the method in upper case in the script: {upper} is allowed");
        changes.push(Change { text, path: None, edit: None });
    } else if !reading.method || any_method {
        let wanted = (!is_safelisted_method(method)).then(|| method.to_owned());
        changes.extend(editor.list("allow_methods", wanted.as_slice(), any_method));
    }
    let any_header = star(policy.headers.any);
    let mut wanted = reading.missing.clone();
    if any_header {
        let asked = cors_oracle::unsafe_names(request.headers());
        let known = |name: &String| policy.headers.names.contains(name) || wanted.contains(name);
        let more: Vec<String> = asked.into_iter().filter(|name| !known(name)).collect();
        wanted.extend(more);
    }
    if !wanted.is_empty() || any_header {
        changes.extend(editor.list("allow_headers", &wanted, any_header));
    }
    if needs_credentials {
        changes.extend(editor.flag("allow_credentials"));
    }
    changes
}

/// The method in upper case, where the policy allows that and not the one that was asked for.
pub(super) fn in_upper_case(reading: &Reading<'_>, method: &str) -> Option<String> {
    let upper = method.to_ascii_uppercase();
    match &reading.policy.methods {
        Methods::List(names) if !reading.method && names.contains(&upper) => Some(upper),
        _ => None,
    }
}

const fn is_any(origins: &Origins) -> bool {
    matches!(origins, Origins::Any)
}

/// The text with all changes made.
pub(super) fn apply(source: &str, changes: &[Change]) -> String {
    let mut edits: Vec<&Edit> = changes.iter().filter_map(|change| change.edit.as_ref()).collect();
    // From the end, so that places in front stay where they are. Of two in one place the first one
    // made stands in front.
    edits.sort_by_key(|edit| edit.start);
    let mut text = source.to_owned();
    for edit in edits.into_iter().rev() {
        text.replace_range(edit.start..edit.end, &edit.replacement);
    }
    text
}

struct Editor<'a> {
    source: &'a str,
    places: &'a PolicyPlaces,
    index: usize,
}

impl Editor<'_> {
    /// Adds names to a list, and takes the `*` out of it where it has to go.
    fn list(&self, key: &str, names: &[String], without_star: bool) -> Option<Change> {
        let shown: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        let value = self.places.value(key);
        let (text, edit) = match value {
            Some(value) if without_star => {
                let kept = value.items.iter().filter(|(item, _)| item != "*");
                let mut items: Vec<String> =
                    kept.map(|(_, span)| self.source[span.clone()].to_owned()).collect();
                items.extend(shown.iter().cloned());
                let edit = replace(value, format!("[{}]", items.join(", ")));
                let text = format!(
                    "put names in the place of `*` in {key}, which means nothing with credentials"
                );
                (text, edit)
            }
            Some(value) => (format!("add {} to {key}", shown.join(", ")), add(value, &shown)),
            None => {
                let line = format!("{key} = [{}]", shown.join(", "));
                (format!("add the line {line}"), self.insert(&line)?)
            }
        };
        Some(self.change(key, text, edit))
    }

    /// Sets a key to `true`.
    fn flag(&self, key: &str) -> Option<Change> {
        let line = format!("{key} = true");
        let edit = match self.places.value(key) {
            Some(value) => replace(value, "true".to_owned()),
            None => self.insert(&line)?,
        };
        Some(self.change(key, format!("set {line}"), edit))
    }

    /// A new key, behind the name.
    fn insert(&self, line: &str) -> Option<Edit> {
        let name = self.places.value("name")?;
        let is_inline = self.source[self.places.whole.clone()].starts_with('{');
        if is_inline {
            return Some(Edit {
                start: name.span.end,
                end: name.span.end,
                replacement: format!(", {line}"),
            });
        }
        let rest = &self.source[name.span.end..];
        let at = name.span.end + rest.find('\n').unwrap_or(rest.len());
        // A file with CRLF stays one.
        let at = if self.source[..at].ends_with('\r') { at - 1 } else { at };
        Some(Edit { start: at, end: at, replacement: format!("\n{line}") })
    }

    fn change(&self, key: &str, text: String, edit: Edit) -> Change {
        Change { text, path: Some(format!("policy[{}].{key}", self.index)), edit: Some(edit) }
    }
}

fn replace(value: &Value, replacement: String) -> Edit {
    Edit { start: value.span.start, end: value.span.end, replacement }
}

/// Behind the last element, in front of whatever follows it.
fn add(value: &Value, items: &[String]) -> Edit {
    let items = items.join(", ");
    let (at, replacement) = match value.items.last() {
        Some((_, last)) => (last.end, format!(", {items}")),
        None => (value.span.start + 1, items),
    };
    Edit { start: at, end: at, replacement }
}

/// What the server must say instead, where there is no policy file.
pub(super) fn for_server(failed: &Failed, request: &Request) -> Vec<Change> {
    let origin = request.serialized_origin();
    let names = failed.names.join(", ");
    let on = match failed.stage {
        Stage::Preflight => "the answer to OPTIONS",
        _ => "the response, errors included",
    };
    let text = match failed.at {
        Step::AllowOriginPresent | Step::AllowOriginMatches if origin == "null" => {
            "serve the page from an origin of its own: what is sent as `null` is every sandboxed \
             frame and local file, and no server should allow it"
                .to_owned()
        }
        Step::AllowOriginPresent | Step::AllowOriginMatches => format!(
            "put `Access-Control-Allow-Origin: {origin}` on {on}, exactly once, and `Vary: Origin`"
        ),
        Step::AllowCredentials => format!(
            "put `Access-Control-Allow-Credentials: true` on {on}, or leave the credentials out of \
             the request"
        ),
        Step::StatusIsOk => "answer OPTIONS with 204 or 200, in front of whatever redirects it or \
                             asks for a login"
            .to_owned(),
        Step::ListsParse => "write names with commas between them, and nothing else".to_owned(),
        Step::MethodAllowed => format!("list it: `Access-Control-Allow-Methods: {names}`"),
        Step::AuthorizationAllowed | Step::HeadersAllowed => format!(
            "list {}: `Access-Control-Allow-Headers: {names}`",
            if failed.names.len() == 1 && names != AUTHORIZATION { "it" } else { "them by name" }
        ),
        _ => return for_script(failed),
    };
    vec![Change { text, path: None, edit: None }]
}

/// What the script, or whoever runs the server, must do where the answer is not to blame.
pub(super) fn for_script(failed: &Failed) -> Vec<Change> {
    let text = match failed.at {
        Step::PortNotBad => "serve it on another port",
        Step::NotMixedContent | Step::SchemeIsHttp | Step::LocationIsHttp => "serve it over https",
        Step::SameOriginMode => "leave `mode: \"same-origin\"` out of the request",
        Step::RedirectWanted => "ask for the URL that it is redirected to",
        Step::LocationWithoutCredentials => "leave the user name and the password out of Location",
        Step::LocationParses => "put a valid URL into Location",
        Step::RedirectCount => "break the circle of redirects",
        Step::BodyCanRepeat => "redirect with 303, or send a body that is no stream",
        _ => return Vec::new(),
    };
    vec![Change { text: text.to_owned(), path: None, edit: None }]
}
