//! HTTP Basic authentication (RFC 7617) against hashed passwords.
//!
//! A guest has 100 ms for a callback, and a worker waits meanwhile, so costs are bounded: bcrypt (as `htpasswd -B` makes it) up
//! to cost 8, PBKDF2-SHA256 up to 50 000 rounds; both take about 10 to 30 ms there. Long random passwords make up for it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use subtle::ConstantTimeEq;

use crate::recent::{Recent, fingerprint};

/// Highest bcrypt cost.
const MAX_BCRYPT_COST: u32 = 8;
/// Most PBKDF2 rounds.
const MAX_PBKDF2_ROUNDS: u32 = 50_000;
/// Longest credentials that are looked at, bytes.
const MAX_CREDENTIALS: usize = 1024;
/// How long a password that was right needs no hashing again.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Users with their hashed passwords.
pub(crate) struct Users {
    users: BTreeMap<String, Hash>,
    recent: Recent,
}

enum Hash {
    /// `$2y$05$…`, and the same with 2a or 2b.
    Bcrypt(String),
    /// `$pbkdf2-sha256$i=10000$salt$hash`, salt and hash in base64 without padding.
    Pbkdf2 { rounds: u32, salt: Vec<u8>, hash: Vec<u8> },
}

impl Users {
    /// Takes hashes by user name.
    ///
    /// # Errors
    /// A name or a hash cannot be used.
    pub(crate) fn new(users: &BTreeMap<String, &str>) -> Result<Self, String> {
        let parse = |(name, hash): (&String, &&str)| {
            if name.is_empty() || name.contains(':') {
                return Err(format!("basic: {name:?} cannot be a user name"));
            }
            Ok((name.clone(), Hash::parse(hash).map_err(|reason| format!("basic: the password of {name:?} {reason}"))?))
        };
        Ok(Self { users: users.iter().map(parse).collect::<Result<_, _>>()?, recent: Recent::new(REMEMBERED) })
    }

    /// The user of these credentials (what follows `Basic ` in the header), if the password is right.
    #[must_use]
    pub(crate) fn user(&self, credentials: &str, now: SystemTime) -> Option<&str> {
        let decoded = (credentials.len() <= MAX_CREDENTIALS).then(|| STANDARD.decode(credentials).ok())??;
        let text = String::from_utf8(decoded).ok()?;
        let (name, password) = text.split_once(':')?;
        let Some((name, hash)) = self.users.get_key_value(name) else {
            // A user who does not exist takes as long as one who does.
            let (_, hash) = self.users.first_key_value()?;
            std::hint::black_box(hash.matches(password));
            return None;
        };
        let entry = fingerprint(&[name.as_bytes(), password.as_bytes()]);
        if self.recent.contains(&entry, now) {
            return Some(name);
        }
        if !hash.matches(password) {
            return None;
        }
        self.recent.insert(entry, now);
        Some(name)
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('$').collect();
        match parts.as_slice() {
            ["", "2a" | "2b" | "2y", cost, _] => {
                let cost: u32 = cost.parse().map_err(|_| "is no bcrypt hash")?;
                if cost > MAX_BCRYPT_COST {
                    return Err(format!(
                        "has bcrypt cost {cost}, above {MAX_BCRYPT_COST}: a request could not wait for it"
                    ));
                }
                match bcrypt::verify("", text) {
                    Ok(false) => Ok(Self::Bcrypt(text.to_owned())),
                    Ok(true) => Err("is empty".to_owned()),
                    Err(error) => Err(format!("is no bcrypt hash: {error}")),
                }
            }
            ["", "pbkdf2-sha256", parameters, salt, hash] => {
                let bad = || "is no pbkdf2-sha256 hash: \"$pbkdf2-sha256$i=10000$SALT$HASH\" is".to_owned();
                let rounds =
                    parameters.split(',').find_map(|parameter| parameter.strip_prefix("i=")).ok_or_else(bad)?;
                let rounds: u32 = rounds.parse().map_err(|_| bad())?;
                if rounds == 0 || rounds > MAX_PBKDF2_ROUNDS {
                    return Err(format!(
                        "has {rounds} rounds, not 1 to {MAX_PBKDF2_ROUNDS}: a request could not wait for it"
                    ));
                }
                let salt = STANDARD_NO_PAD.decode(salt).map_err(|_| bad())?;
                let hash = STANDARD_NO_PAD.decode(hash).map_err(|_| bad())?;
                if hash.len() != 32 {
                    return Err(bad());
                }
                Ok(Self::Pbkdf2 { rounds, salt, hash })
            }
            ["", "argon2i" | "argon2d" | "argon2id" | "scrypt", ..] => {
                Err("is hashed to be slow, which a request cannot wait for: use bcrypt (htpasswd -nB) or pbkdf2-sha256"
                    .to_owned())
            }
            _ => Err("is not hashed: use bcrypt (htpasswd -nB) or pbkdf2-sha256".to_owned()),
        }
    }

    fn matches(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Pbkdf2 { rounds, salt, hash } => {
                let mut computed = [0; 32];
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password.as_bytes(), salt, *rounds, &mut computed);
                computed.ct_eq(hash).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7914 §11: "passwd", salt "salt", one round.
    const PBKDF2: &str = "$pbkdf2-sha256$i=1$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLw";

    fn users() -> Users {
        let bcrypt = bcrypt::hash_with_salt("open sesame", 4, [7; 16]).unwrap().to_string();
        let hashes = [("alice".to_owned(), bcrypt.as_str()), ("bob".to_owned(), PBKDF2)].into();
        Users::new(&hashes).unwrap()
    }
    fn login(users: &Users, credentials: &str) -> Option<String> {
        users.user(&STANDARD.encode(credentials), SystemTime::UNIX_EPOCH).map(str::to_owned)
    }

    #[test]
    fn a_password_is_checked_against_either_hash() {
        let users = users();
        assert_eq!(login(&users, "alice:open sesame").as_deref(), Some("alice"));
        assert_eq!(login(&users, "alice:open sesame").as_deref(), Some("alice"));
        assert_eq!(login(&users, "alice:Open sesame"), None);
        assert_eq!(login(&users, "carol:open sesame"), None);
        for wrong in ["alice", "alice:", ":", "", "bob:open sesame"] {
            assert_eq!(login(&users, wrong), None, "{wrong:?}");
        }
        assert_eq!(users.user("not base64!", SystemTime::UNIX_EPOCH), None);
        assert_eq!(users.user(&"A".repeat(4096), SystemTime::UNIX_EPOCH), None);
    }

    #[test]
    fn an_unusable_hash_says_why() {
        for (hash, hint) in [
            ("secret", "not hashed"),
            ("$2y$10$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "cost 10"),
            ("$2y$05$short", "no bcrypt hash"),
            ("$pbkdf2-sha256$i=600000$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLw", "600000 rounds"),
            ("$pbkdf2-sha256$i=1$c2FsdA$VawE", "pbkdf2-sha256"),
            ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aaaa", "slow"),
        ] {
            let error = Users::new(&[("alice".to_owned(), hash)].into()).err().unwrap();
            assert!(error.contains(hint), "{hash}: {error}");
        }
        assert!(Users::new(&[("a:b".to_owned(), PBKDF2)].into()).is_err());
    }
}
