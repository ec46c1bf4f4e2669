//! Query strings and forms (`application/x-www-form-urlencoded`, URL standard §5).

/// The query of a path, without the question mark.
pub(crate) fn of(path: &str) -> &str {
    path.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or(query))
}

/// The decoded pairs.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(key), decode(value))
    })
}

/// Undoes percent-encoding; `+` is a space, and what is not UTF-8 becomes a replacement character.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (byte, length) = match bytes[at] {
            b'+' => (b' ', 1),
            b'%' => hex_pair(bytes.get(at + 1..at + 3)).map_or((b'%', 1), |byte| (byte, 3)),
            other => (other, 1),
        };
        decoded.push(byte);
        at += length;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex_pair(digits: Option<&[u8]>) -> Option<u8> {
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Writes pairs as a form.
pub(crate) fn form<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> String {
    let mut form = String::new();
    for (key, value) in pairs {
        if !form.is_empty() {
            form.push('&');
        }
        encode(key.as_ref(), &mut form);
        form.push('=');
        encode(value.as_ref(), &mut form);
    }
    form
}

fn encode(text: &str, form: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => form.push(char::from(byte)),
            b' ' => form.push('+'),
            _ => form.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let read: Vec<_> = pairs(of("/a?x=1&y=a%20b+c&&flag&bad=%zz%4&u=%C3%A4#part")).collect();
        let expected = [("x", "1"), ("y", "a b c"), ("flag", ""), ("bad", "%zz%4"), ("u", "ä")];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(of("/a"), "");
    }

    #[test]
    fn forms_survive_the_round_trip() {
        let written = form(&[("token", "a+b/c=="), ("scope", "read write"), ("name", "ä&b")]);
        assert_eq!(written, "token=a%2Bb%2Fc%3D%3D&scope=read+write&name=%C3%A4%26b");
        assert_eq!(pairs(&written).nth(2), Some(("name".to_owned(), "ä&b".to_owned())));
    }
}
