//! What is asked.

use thiserror::Error;

/// Why a text is no list of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the file of requests ends in the middle of a head: each ends with an empty line (CRLF)")]
pub struct CutOff;

const END: &[u8] = b"\r\n\r\n";

/// Heads one after the other, each with the empty line that ends it.
pub fn split(text: &[u8]) -> Result<Vec<Vec<u8>>, CutOff> {
    let mut heads = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.windows(END.len()).position(|window| window == END).ok_or(CutOff)?;
        let (head, next) = rest.split_at(end + END.len());
        heads.push(head.to_vec());
        rest = next;
    }
    Ok(heads)
}

/// A preflight as Chromium sends it.
pub fn preflight(host: &str, path: &str, origin: &str, method: &str, headers: &str) -> Vec<u8> {
    let headers = match headers {
        "" => String::new(),
        headers => format!("Access-Control-Request-Headers: {headers}\r\n"),
    };
    format!(
        "OPTIONS {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Connection: keep-alive\r\n\
         Accept: */*\r\n\
         Access-Control-Request-Method: {method}\r\n\
         {headers}\
         Origin: {origin}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/156.0.0.0 Safari/537.36\r\n\
         Sec-Fetch-Mode: cors\r\n\
         Sec-Fetch-Site: cross-site\r\n\
         Sec-Fetch-Dest: empty\r\n\
         Referer: {origin}/\r\n\
         Accept-Encoding: gzip, deflate\r\n\
         Accept-Language: en-US,en;q=0.9\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_split_at_their_ends() {
        let first = preflight("a", "/", "https://b", "PUT", "x-c");
        let second = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let text = [first.clone(), second.clone()].concat();
        assert_eq!(split(&text), Ok(vec![first, second]));
        assert_eq!(split(&text[..text.len() - 1]), Err(CutOff));
        assert_eq!(split(b""), Ok(vec![]));
    }
}
