//! The whole reply as bytes, for whoever is not the kernel.

use cors_common::{head::Head, policy::Answer, state::Date, wire::reply::Reply};

use super::Image;

/// The bytes that `answer` stands for, with this date.
///
/// # Panics
///
/// Where the answer is not from this image and this head.
pub fn render(image: &Image, answer: &Answer, head: &Head, date: &Date) -> Vec<u8> {
    let template = &image.templates[answer.template.wrapping_sub(image.slot.policy_base) as usize];
    let mut reply = Reply::EMPTY;
    answer.write(template, date, head, &mut reply);
    reply.payload(answer.len).to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::{
        compile::{Limits, compile},
        config,
    };

    #[test]
    fn the_example_answers() {
        let config = config::parse(config::EXAMPLE).config.unwrap();
        let image = compile(&config, Limits { lines: 64, policies: 1 }).unwrap();
        let request = b"OPTIONS /v1/users?id=1 HTTP/1.1\r\nHost: api.example.com\r\n\
                        Origin: https://www.example.org\r\nAccess-Control-Request-Method: PUT\r\n\
                        Access-Control-Request-Headers: authorization,content-type\r\n\r\n";
        let date = Date::new(b"Sun, 06 Nov 1994 08:49:37 GMT");
        let mut head = Head::new();
        head.buffer()[..request.len()].copy_from_slice(request);
        head.read(request.len()).unwrap();
        let answer = image.decide(&mut head).unwrap();
        let reply = String::from_utf8(render(&image, &answer, &head, &date)).unwrap();
        assert_eq!(
            reply,
            "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Access-Control-Allow-Credentials: true\r\n\
             Access-Control-Allow-Methods: PUT, PATCH, DELETE\r\n\
             Access-Control-Allow-Headers: authorization, content-type\r\n\
             Access-Control-Max-Age: 600\r\n\
             Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n\
             Access-Control-Allow-Origin: https://www.example.org\r\n\r\n"
        );
        assert_eq!(reply.len(), answer.len);
    }
}
