//! Responses as people paste them: what curl writes, what the browsers' developer tools copy, what
//! stands in a log. Pure.
//!
//! Understood are CRLF and LF, with a status line or without, several heads one after the other
//! (interim responses, redirects, a proxy's answer to CONNECT), bodies behind them, the marks of
//! `curl -v`, pseudo-headers of HTTP/2, and names and values on lines of their own.

use cors_oracle::Response;

/// One head that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pasted {
    /// What it says.
    pub(super) response: Response,
    /// Whether it said which status it has; 200 is assumed otherwise.
    pub(super) has_status: bool,
}

/// A line that is not part of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoHead {
    /// From 1.
    pub(super) line: usize,
    pub(super) why: String,
}

/// The heads of a paste, the last one first to be final: interim ones are left out.
pub(super) fn heads(text: &str) -> Result<Vec<Pasted>, NoHead> {
    let lines: Vec<(usize, &str)> =
        text.trim_start_matches('\u{feff}').lines().enumerate().map(|(i, l)| (i + 1, l)).collect();
    let lines = unmarked(lines);
    let mut rest = &lines[..];
    let mut heads = Vec::new();
    while let Some(start) = rest.iter().position(|(_, line)| !line.trim().is_empty()) {
        rest = &rest[start..];
        let end = rest.iter().position(|(_, line)| line.trim().is_empty()).unwrap_or(rest.len());
        let (pasted, is_last) = head(&rest[..end])?;
        heads.extend(pasted);
        if is_last {
            break;
        }
        // What is between a redirect and the next status line is its body.
        let next = rest[end..].iter().position(|(_, line)| status(line).is_some());
        let Some(next) = next else { break };
        rest = &rest[end + next..];
    }
    if heads.is_empty() {
        return Err(NoHead { line: 1, why: "there is no response head".to_owned() });
    }
    Ok(heads)
}

/// The lines that are a response's, without the marks of `curl -v`.
fn unmarked(lines: Vec<(usize, &str)>) -> Vec<(usize, &str)> {
    if !lines.iter().any(|(_, line)| line.starts_with("< ")) {
        return lines;
    }
    lines
        .into_iter()
        .filter_map(|(number, line)| match line.strip_prefix('<') {
            Some(line) => Some((number, line.strip_prefix(' ').unwrap_or(line))),
            // `*` is what curl says, `>` what it sent, `{` and `}` are bytes of bodies.
            None if line.starts_with(['*', '>', '{', '}']) => None,
            None => Some((number, line)),
        })
        .collect()
}

/// Reads one head. Whether it is the last one; nothing of it where it is an interim one.
fn head(lines: &[(usize, &str)]) -> Result<(Option<Pasted>, bool), NoHead> {
    let first = status(lines[0].1);
    let fields = if first.is_some() { &lines[1..] } else { lines };
    // Where there is a status line, names and values are never apart.
    let apart = first.is_none() && alternates(fields);
    let joined = if apart { paired(fields) } else { unfolded(fields) };
    let mut response =
        Response { status: first.map_or(200, |(code, _)| code), ..Response::default() };
    let mut has_status = first.is_some();
    for (number, line) in joined {
        if let Some(pseudo) = line.strip_prefix(':') {
            let (name, value) = pseudo.split_once(':').unwrap_or((pseudo, ""));
            if name == "status" {
                response.status = code(value.trim()).ok_or_else(|| NoHead {
                    line: number,
                    why: format!("`{}` is no status", value.trim()),
                })?;
                has_status = true;
            }
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| NoHead {
            line: number,
            why: format!("`{}` is neither a header nor a status line", excerpt(&line)),
        })?;
        // A space before the colon is not allowed, and browsers let it pass.
        let name = name.trim_end();
        if name.is_empty() || !name.bytes().all(is_name_byte) {
            let why = format!("`{}` is no header name", excerpt(name));
            return Err(NoHead { line: number, why });
        }
        response.headers.add(name, value);
    }
    let interim = (100..200).contains(&response.status)
        || first.is_some_and(|(_, reason)| reason.eq_ignore_ascii_case("connection established"));
    let redirect = (300..400).contains(&response.status);
    let pasted = (!interim).then_some(Pasted { response, has_status });
    Ok((pasted, !interim && !redirect))
}

/// The code and the reason of a status line.
fn status(line: &str) -> Option<(u16, &str)> {
    let rest = line.trim().strip_prefix("HTTP/")?;
    let (version, rest) = rest.split_once(' ')?;
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let rest = rest.trim_start();
    let (digits, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((code(digits)?, reason.trim()))
}

fn code(digits: &str) -> Option<u16> {
    (digits.len() == 3).then(|| digits.parse().ok()).flatten()
}

/// Whether names and values are on lines of their own, as one browser's tools copy them.
fn alternates(lines: &[(usize, &str)]) -> bool {
    let is_name = |line: &str| {
        line.strip_suffix(':').is_some_and(|name| {
            let name = name.strip_prefix(':').unwrap_or(name);
            !name.is_empty() && name.bytes().all(is_name_byte)
        })
    };
    lines.len() >= 2
        && lines.len().is_multiple_of(2)
        && lines.iter().step_by(2).all(|(_, line)| is_name(line.trim()))
}

fn paired(lines: &[(usize, &str)]) -> Vec<(usize, String)> {
    let pair = |pair: &[(usize, &str)]| (pair[0].0, format!("{}{}", pair[0].1.trim(), pair[1].1));
    lines.chunks_exact(2).map(pair).collect()
}

/// With lines that go on with the one before them joined to it (RFC 9112 §5.2), unless all are
/// indented alike.
fn unfolded(lines: &[(usize, &str)]) -> Vec<(usize, String)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let least = lines.iter().map(|(_, line)| indent(line)).min().unwrap_or_default();
    let mut joined: Vec<(usize, String)> = Vec::new();
    for (number, line) in lines {
        match joined.last_mut() {
            Some((_, before)) if indent(line) > least => {
                before.extend([" ", line.trim()]);
            }
            _ => joined.push((*number, line.trim().to_owned())),
        }
    }
    joined
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The beginning of a line, without what a terminal would act on.
fn excerpt(line: &str) -> String {
    let short: String = line.chars().take(40).collect();
    let dots = if short.len() < line.len() { "…" } else { "" };
    format!("{}{dots}", short.replace(char::is_control, "\u{fffd}"))
}
