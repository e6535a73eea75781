//! `[admin]`: where metrics and health are told. Pure.

use std::net::SocketAddr;

use super::{
    model,
    problem::{Problems, Reason},
    raw::Raw,
};

/// Reads `[admin]`. What is wrong is left out.
pub(super) fn admin(raw: &Raw, problems: &mut Problems) -> model::Admin {
    let Some(at) = raw.admin.given().and_then(|table| table.value.listen.given()) else {
        return model::Admin::Usual;
    };
    if at.value == "off" {
        return model::Admin::Off;
    }
    match at.value.parse::<SocketAddr>() {
        Ok(socket) if socket.port() != 0 && !socket.ip().is_multicast() => {
            if !socket.ip().is_loopback() {
                let hint = "everybody who reaches this address can read the policy there, and \
                            nobody is asked for a password: is it meant?";
                problems.warning(at, Reason::Invalid, hint);
            }
            model::Admin::At(socket)
        }
        _ => {
            let hint =
                format!("write an address and a port, such as `{}`, or `off`", model::Admin::USUAL);
            problems.error(at, Reason::Invalid, hint);
            model::Admin::Usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse, model::Admin};

    fn of(lines: &str) -> (Result<Admin, usize>, usize) {
        let text = format!(
            "[server]\nlisten = [\"0.0.0.0:80\"]\n{lines}\n[[policy]]\nname = \"p\"\n\
             allow_origins = [\"*\"]\n"
        );
        let checked = parse(&text);
        let admin = checked.config.map(|config| config.admin).map_err(|errors| errors.len());
        (admin, checked.warnings.len())
    }

    #[test]
    fn off_only_if_it_says_so() {
        assert_eq!(of(""), (Ok(Admin::Usual), 0));
        assert_eq!(of("[admin]"), (Ok(Admin::Usual), 0));
        assert_eq!(of("[admin]\nlisten = \"off\""), (Ok(Admin::Off), 0));
        let at = |text: &str| Ok(Admin::At(text.parse().expect("a socket")));
        assert_eq!(of("[admin]\nlisten = \"[::1]:9000\""), (at("[::1]:9000"), 0));
        assert_eq!(of("[admin]\nlisten = \"0.0.0.0:9000\""), (at("0.0.0.0:9000"), 1));
        for wrong in ["\"\"", "\"9410\"", "\"127.0.0.1:0\"", "9410", "\"none\""] {
            assert_eq!(of(&format!("[admin]\nlisten = {wrong}")).0, Err(1), "{wrong}");
        }
    }
}
