//! The shape of a policy file: which keys there are and which types they have, each with its
//! position. What the values mean is not judged here.
//!
//! It walks the tree of the TOML parser instead of deriving `Deserialize`, because serde stops at
//! the first value of a wrong type, and everything wrong has to be said in one run.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::nearest::nearest;
use super::problem::{At, Problems, Reason};
use super::proxy;
use super::syntax::{self, excerpt};

/// A whole file.
#[derive(Debug)]
pub(super) struct Raw {
    /// `[server]`.
    pub(super) server: Field<Server>,
    /// `[admin]`.
    pub(super) admin: Field<Admin>,
    /// Every `[[policy]]`.
    pub(super) policies: Field<List<Policy>>,
    /// From this byte on the text is no TOML, and what was read from there is the parser's guess.
    pub(super) broken_at: Option<usize>,
}

/// `[server]`.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) listen: Field<List<String>>,
    pub(super) interface: Field<List<String>>,
    pub(super) upstream: Field<List<String>>,
    pub(super) upstream_ca: Field<String>,
    pub(super) upstream_cors_headers: Field<String>,
    pub(super) proxy_protocol: Field<bool>,
    pub(super) track: Field<bool>,
    pub(super) handshake: Field<String>,
    pub(super) trusted_proxies: Field<List<String>>,
    pub(super) tls: Field<Tls>,
    pub(super) limits: Field<Vec<Number>>,
    pub(super) timeouts: Field<Vec<Number>>,
}

/// `[server.tls]`.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) listen: Field<List<String>>,
    pub(super) certificates: Field<List<Certificate>>,
}

/// An element of `certificates`.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) chain: Field<String>,
    pub(super) key: Field<String>,
}

/// A key of a table in which every value is a whole number.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) key: &'static str,
    pub(super) value: Field<String>,
}

/// `[policy.preflight]`.
#[derive(Debug)]
pub(super) struct Preflight {
    pub(super) success_status: Field<String>,
    pub(super) denied_status: Field<String>,
    pub(super) validate: Field<String>,
    pub(super) advertise: Field<String>,
}

/// `[admin]`.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) listen: Field<String>,
}

/// One `[[policy]]`.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: Field<String>,
    pub(super) matching: Field<Match>,
    pub(super) allow_origins: Field<List<String>>,
    pub(super) allow_methods: Field<List<String>>,
    pub(super) allow_headers: Field<List<String>>,
    pub(super) expose_headers: Field<List<String>>,
    pub(super) allow_credentials: Field<bool>,
    /// In decimal, as integers of TOML have no upper bound.
    pub(super) max_age: Field<String>,
    pub(super) dangerously_allow: Field<List<String>>,
    pub(super) preflight: Field<Preflight>,
    pub(super) compat: Field<String>,
    pub(super) enforce: Field<bool>,
}

/// `match` of a policy.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) hosts: Field<List<String>>,
    pub(super) path_prefix: Field<String>,
}

/// What is written between brackets.
#[derive(Debug)]
pub(super) struct List<T> {
    /// The elements of the right type; the path of each tells its place in the list.
    pub(super) items: Vec<At<T>>,
    /// Nothing is written there, not even something of the wrong type.
    pub(super) is_empty: bool,
}

/// What is written for a key.
#[derive(Debug)]
pub(super) enum Field<T> {
    /// Nothing.
    Absent,
    /// Something of the wrong type, or under a misspelt key; it has been reported.
    Wrong,
    /// A value of the right type.
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value, if there is one.
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Whether nothing is there, so that nothing has been reported either.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

const ROOT: &[&str] = &["server", "admin", "policy"];
const SERVER: &[&str] = &[
    "listen",
    "interface",
    "upstream",
    "upstream_ca",
    "upstream_cors_headers",
    "proxy_protocol",
    "track",
    "handshake",
    "trusted_proxies",
    "tls",
    "limits",
    "timeouts",
];
const ADMIN: &[&str] = &["listen"];
const TLS: &[&str] = &["listen", "certificates"];
const CERTIFICATE: &[&str] = &["chain", "key"];
const POLICY: &[&str] = &[
    "name",
    "match",
    "allow_origins",
    "allow_methods",
    "allow_headers",
    "expose_headers",
    "allow_credentials",
    "max_age",
    "dangerously_allow",
    "preflight",
    "compat",
    "enforce",
];
const PREFLIGHT: &[&str] = &["success_status", "denied_status", "validate", "advertise"];
const MATCH: &[&str] = &["hosts", "path_prefix"];

const FLAG: &str = "expected true or false";
const INTEGER: &str = "expected a whole number, without quotes and without a unit";
const TEXT: &str = "expected a string in quotes";
const LIST: &str = "expected a list of strings: write [\"…\", \"…\"], also for a single one";

/// Reads the shape of `source`.
pub(super) fn read(source: &str, problems: &mut Problems) -> Raw {
    let (document, errors) = DeTable::parse_recoverable(source);
    let broken_at = syntax::check(source, &errors, problems);
    let mut reader = Reader { source, problems };
    let mut root = reader.table(String::new(), document.get_ref(), ROOT);
    let server = root.field("server", "expected a table: start it with [server]", server);
    let admin = root.field("admin", "expected a table: start it with [admin]", admin);
    let policies =
        root.field("policy", "start every policy with [[policy]], in two brackets", policies);
    Raw { server, admin, policies, broken_at }
}

fn server(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Server> {
    let mut table = reader.table(path.to_owned(), value.as_table()?, SERVER);
    Some(Server {
        listen: table.field("listen", LIST, texts),
        interface: table.field("interface", LIST, texts),
        upstream: table.field("upstream", TEXT, text_or_texts),
        upstream_ca: table.field("upstream_ca", TEXT, text),
        upstream_cors_headers: table.field("upstream_cors_headers", TEXT, text),
        proxy_protocol: table.field("proxy_protocol", FLAG, flag),
        track: table.field("track", FLAG, flag),
        handshake: table.field("handshake", TEXT, text),
        trusted_proxies: table.field("trusted_proxies", LIST, texts),
        tls: table.field("tls", "expected a table: start it with [server.tls]", tls),
        limits: table.field("limits", "expected a table: start it with [server.limits]", limits),
        timeouts: table.field(
            "timeouts",
            "expected a table: start it with [server.timeouts]",
            timeouts,
        ),
    })
}

fn tls(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Tls> {
    const HINT: &str = "expected a list of tables: write [{ chain = \"…\", key = \"…\" }]";
    let mut table = reader.table(path.to_owned(), value.as_table()?, TLS);
    Some(Tls {
        listen: table.field("listen", LIST, texts),
        certificates: table.field("certificates", HINT, |value, path, reader| {
            list(value, path, reader, HINT, certificate)
        }),
    })
}

fn certificate(
    value: &DeValue<'_>,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Option<Certificate> {
    let mut table = reader.table(path.to_owned(), value.as_table()?, CERTIFICATE);
    Some(Certificate {
        chain: table.field("chain", TEXT, text),
        key: table.field("key", TEXT, text),
    })
}

fn limits(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Vec<Number>> {
    numbers(value, path, reader, proxy::LIMITS)
}

fn timeouts(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Vec<Number>> {
    numbers(value, path, reader, proxy::TIMEOUTS)
}

fn numbers(
    value: &DeValue<'_>,
    path: &str,
    reader: &mut Reader<'_, '_>,
    keys: &[&'static str],
) -> Option<Vec<Number>> {
    let mut table = reader.table(path.to_owned(), value.as_table()?, keys);
    let number = |key: &&'static str| Number { key, value: table.field(key, INTEGER, integer) };
    Some(keys.iter().map(number).collect())
}

/// A list, or a single text in its place.
fn text_or_texts(
    value: &DeValue<'_>,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Option<List<String>> {
    match value.as_str() {
        None => texts(value, path, reader),
        // Where it is in the text the field knows.
        Some(text) => {
            let item = At { path: path.to_owned(), span: 0..0, value: text.to_owned() };
            Some(List { items: vec![item], is_empty: false })
        }
    }
}

fn preflight(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Preflight> {
    const STATUS: &str = "expected a status, as a number without quotes";
    let mut table = reader.table(path.to_owned(), value.as_table()?, PREFLIGHT);
    Some(Preflight {
        success_status: table.field("success_status", STATUS, integer),
        denied_status: table.field("denied_status", STATUS, integer),
        validate: table.field("validate", TEXT, text),
        advertise: table.field("advertise", TEXT, text),
    })
}

fn admin(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Admin> {
    let mut table = reader.table(path.to_owned(), value.as_table()?, ADMIN);
    Some(Admin { listen: table.field("listen", TEXT, text) })
}

fn policies(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<List<Policy>> {
    list(value, path, reader, "expected a table: start it with [[policy]]", policy)
}

fn policy(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Policy> {
    let mut table = reader.table(path.to_owned(), value.as_table()?, POLICY);
    Some(Policy {
        name: table.field("name", TEXT, text),
        matching: table.field(
            "match",
            "expected a table: match = { hosts = [\"…\"], path_prefix = \"/…\" }",
            matching,
        ),
        allow_origins: table.field("allow_origins", LIST, texts),
        allow_methods: table.field("allow_methods", LIST, texts),
        allow_headers: table.field("allow_headers", LIST, texts),
        expose_headers: table.field("expose_headers", LIST, texts),
        allow_credentials: table.field("allow_credentials", FLAG, flag),
        max_age: table.field(
            "max_age",
            "expected a whole number of seconds, without quotes and without a unit",
            integer,
        ),
        dangerously_allow: table.field("dangerously_allow", LIST, texts),
        preflight: table.field(
            "preflight",
            "expected a table: start it with [policy.preflight]",
            preflight,
        ),
        compat: table.field("compat", TEXT, text),
        enforce: table.field("enforce", FLAG, flag),
    })
}

fn matching(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<Match> {
    let mut table = reader.table(path.to_owned(), value.as_table()?, MATCH);
    Some(Match {
        hosts: table.field("hosts", LIST, texts),
        path_prefix: table.field("path_prefix", TEXT, text),
    })
}

fn text(value: &DeValue<'_>, _: &str, _: &mut Reader<'_, '_>) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn flag(value: &DeValue<'_>, _: &str, _: &mut Reader<'_, '_>) -> Option<bool> {
    value.as_bool()
}

fn integer(value: &DeValue<'_>, _: &str, _: &mut Reader<'_, '_>) -> Option<String> {
    let integer = value.as_integer()?;
    Some(match i128::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) => number.to_string(),
        Err(_) => integer.to_string(),
    })
}

fn texts(value: &DeValue<'_>, path: &str, reader: &mut Reader<'_, '_>) -> Option<List<String>> {
    list(value, path, reader, TEXT, text)
}

/// The elements of a list; one of the wrong type is reported and left out.
fn list<T>(
    value: &DeValue<'_>,
    path: &str,
    reader: &mut Reader<'_, '_>,
    expected: &str,
    read: Read<T>,
) -> Option<List<T>> {
    let array = value.as_array()?;
    let mut items = Vec::new();
    for (index, element) in array.iter().enumerate() {
        if let Field::Given(item) =
            reader.value(element, format!("{path}[{index}]"), expected, read)
        {
            items.push(item);
        }
    }
    Some(List { items, is_empty: array.iter().next().is_none() })
}

/// Turns a value into a `T`, or `None` if it has the wrong type.
type Read<T> = fn(&DeValue<'_>, &str, &mut Reader<'_, '_>) -> Option<T>;

struct Reader<'s, 'p> {
    source: &'s str,
    problems: &'p mut Problems,
}

impl<'s, 'p> Reader<'s, 'p> {
    /// Opens a table and reports the keys that are not `known`.
    fn table<'t>(
        &'t mut self,
        path: String,
        entries: &'t DeTable<'t>,
        known: &[&'static str],
    ) -> Table<'t, 's, 'p> {
        let prefix = if path.is_empty() { path } else { path + "." };
        let mut table = Table { reader: self, prefix, entries, misspelt: Vec::new() };
        for key in entries.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                table.unknown(key, known);
            }
        }
        table
    }

    fn value<T>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        path: String,
        expected: &str,
        read: Read<T>,
    ) -> Field<T> {
        let span = value.span();
        if let Some(value) = read(value.get_ref(), &path, self) {
            return Field::Given(At { path, span, value });
        }
        let hint = format!("{expected} (this is of type {})", value.get_ref().type_str());
        let at = At { path, value: excerpt(self.source, &span), span };
        self.problems.error(&at, Reason::Invalid, hint);
        Field::Wrong
    }
}

/// A table that is being read.
struct Table<'t, 's, 'p> {
    reader: &'t mut Reader<'s, 'p>,
    prefix: String,
    entries: &'t DeTable<'t>,
    /// Known keys that an unknown one is probably meant to be.
    misspelt: Vec<&'static str>,
}

impl Table<'_, '_, '_> {
    fn field<T>(&mut self, key: &str, expected: &str, read: Read<T>) -> Field<T> {
        match self.entries.get(key) {
            Some(value) => {
                self.reader.value(value, format!("{}{key}", self.prefix), expected, read)
            }
            // "Unknown key" has been said; "missing key" would be the same error twice.
            None if self.misspelt.contains(&key) => Field::Wrong,
            None => Field::Absent,
        }
    }

    fn unknown(&mut self, key: &Spanned<DeString<'_>>, known: &[&'static str]) {
        let hint = if let Some(near) = nearest(key.get_ref(), known) {
            self.misspelt.push(near);
            format!("unknown key: did you mean `{near}`?")
        } else {
            format!("unknown key: remove it, or use one of {}", known.join(", "))
        };
        let name = key.get_ref();
        let bare = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        let segment = if bare { name.to_string() } else { format!("{name:?}") };
        let path = format!("{}{segment}", self.prefix);
        let at = At { path, span: key.span(), value: name.to_string() };
        self.reader.problems.error(&at, Reason::Invalid, hint);
    }
}
