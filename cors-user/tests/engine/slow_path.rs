//! The slow path on the same bytes: whatever the driver answers it answers with the same bytes, and
//! what the policy denies there it denies here, under the same name.

use cors_common::{
    exit::Exit,
    framing::{Framing, Scan},
    state::Date,
};
use cors_user::cors::{Asked, Judgement, Rules};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::support::DATE;

/// Compares what the driver says of a payload with what the slow path does.
pub(crate) fn agrees(rules: &Rules, payload: &[u8], driver: &Result<Vec<u8>, Exit>) {
    let text = payload.escape_ascii();
    let Some(judgement) = judge(rules, payload) else {
        assert!(driver.is_err(), "the gate refuses what the driver answers: {text}");
        return;
    };
    match (driver, judgement) {
        (Ok(bytes), Judgement::Preflight(reply)) => {
            let mut written = format!("HTTP/1.1 {}\r\n", reply.status);
            for (name, value) in &reply.headers {
                written.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
            }
            written += "\r\n";
            let bytes = String::from_utf8_lossy(bytes);
            // Names are written as the driver writes them when they go out.
            let same = written.len() == bytes.len() && written.eq_ignore_ascii_case(&bytes);
            assert!(same, "{text}\n{written}\n{bytes}");
        }
        (Ok(_), judgement) => {
            panic!("the driver answers, the slow path does not: {text} {judgement:?}")
        }
        (Err(exit @ (Exit::OriginDenied | Exit::HeaderDenied)), Judgement::Preflight(reply)) => {
            assert_eq!(reply.exit, *exit, "{text}");
        }
        (Err(Exit::OriginDenied | Exit::HeaderDenied), judgement) => {
            panic!("the driver denies, the slow path does not: {text} {judgement:?}");
        }
        // An address in brackets is only known to the driver where a policy names it.
        (Err(Exit::Unmatched), judgement) if !payload.contains(&b'[') => {
            assert!(matches!(judgement, Judgement::Unmatched), "{text} {judgement:?}");
        }
        (Err(_), _) => {}
    }
}

/// What the slow path says; none where its gate refuses the bytes.
fn judge(rules: &Rules, payload: &[u8]) -> Option<Judgement> {
    let end = Scan::default().advance(payload, 1 << 16, 100).ok().flatten()?;
    let framing = Framing::of(&payload[..end]).ok()?;
    if end != payload.len() || !framing.body.is_done() {
        return None;
    }
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(payload).ok()?;
    let mut headers = HeaderMap::new();
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    let target = request.path?;
    let host = headers.get("host")?.to_str().ok()?.to_owned();
    let close = headers
        .get_all("connection")
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    let method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    let path = target.split('?').next()?;
    let asked = Asked { method: &method, host: &host, path, headers: &headers, close };
    let date = Date::new(DATE.as_bytes().try_into().unwrap());
    Some(rules.judge(&asked, &date))
}
